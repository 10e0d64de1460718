# Debian, Ubuntu, and whatever else has a shell. Beside it: the binary, as `sexton`.
ARG BASE=debian:12-slim
FROM ${BASE}
COPY sexton /usr/local/bin/sexton
ENTRYPOINT ["/usr/local/bin/sexton", "--"]
# In exec form, so that there is no shell in between. Where one is needed, let it go:
# CMD ["sh", "-c", "prepare && exec app"]
CMD ["sh", "-c", "echo the app is process $$; exec sleep 1"]
