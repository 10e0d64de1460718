# Distroless: no shell, no package manager; sexton adds one file. Set the base by
# --build-arg BASE=..., and put your app in place of /bin/sleep.
ARG BASE
FROM ${BASE}
COPY sexton /sexton
ENTRYPOINT ["/sexton", "--"]
CMD ["/bin/sleep", "1"]
