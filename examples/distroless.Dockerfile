# Distroless: no shell, no package manager; one more file is all that is needed. Give the
# base by --build-arg BASE=... and your app in place of /bin/sleep.
ARG BASE
FROM ${BASE}
COPY sexton /sexton
ENTRYPOINT ["/sexton", "--"]
CMD ["/bin/sleep", "1"]
