# Nothing but sexton and a static app (here `app`, beside this file). There are no PATH,
# no /bin/sh and no /tmp; sexton needs none of them.
FROM scratch
COPY sexton /sexton
COPY app /app
ENTRYPOINT ["/sexton", "--", "/app"]
CMD ["--version"]
