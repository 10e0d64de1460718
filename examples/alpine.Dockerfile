# Alpine: the same binary. It is static, so it does not matter that the C library differs.
ARG BASE=alpine:3
FROM ${BASE}
COPY sexton /sbin/sexton
# An orderly end: the app gets eight seconds, then what it left behind gets one. Docker
# waits for ten.
ENTRYPOINT ["/sbin/sexton", "-k", "8", "-t", "1", "--"]
CMD ["sh", "-c", "echo the app is process $$; exec sleep 1"]
