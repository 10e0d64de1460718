# Alpine: the same binary. It is static, and does not mind that the C library is another.
ARG BASE=alpine:3
FROM ${BASE}
COPY sexton /sbin/sexton
# An orderly end: the app has eight seconds, then what it left behind has one. Docker
# waits for ten.
ENTRYPOINT ["/sbin/sexton", "-k", "8", "-t", "1", "--"]
CMD ["sh", "-c", "echo the app is process $$; exec sleep 1"]
