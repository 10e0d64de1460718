# Debian, Ubuntu, and any other image with a shell. The binary lies beside this file.
ARG BASE=debian:12-slim
FROM ${BASE}
COPY sexton /usr/local/bin/sexton
ENTRYPOINT ["/usr/local/bin/sexton", "--"]
# In exec form, so that there is no shell in between. Where you need one, let it exec:
# CMD ["sh", "-c", "prepare && exec app"]
CMD ["sh", "-c", "echo the app is process $$; exec sleep 1"]
