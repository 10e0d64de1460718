#!/usr/bin/env python3
"""Checks packages for Alpine as apk does: the parts, the digest of the second in the first,
and the digest of each file.

    check-apk.py PACKAGE...
"""

import hashlib
import io
import sys
import tarfile
import zlib
from pathlib import Path


def split(data):
    """The gzip streams that follow one another."""
    while data:
        stream = zlib.decompressobj(wbits=31)
        content = stream.decompress(data) + stream.flush()
        size = len(data) - len(stream.unused_data)
        yield data[:size], content
        data = data[size:]


def main():
    for package in sys.argv[1:]:
        try:
            control, files = split(Path(package).read_bytes())
        except (ValueError, zlib.error) as error:
            sys.exit(f"check-apk: {package}: {error}")
        with tarfile.open(fileobj=io.BytesIO(control[1] + bytes(1024))) as archive:
            lines = archive.extractfile(".PKGINFO").read().decode().splitlines()
        fields = dict(line.split(" = ", 1) for line in lines if not line.startswith("#"))
        if fields["datahash"] != hashlib.sha256(files[0]).hexdigest():
            sys.exit(f"check-apk: {package}: datahash is of other data")
        with tarfile.open(fileobj=io.BytesIO(files[1])) as archive:
            for entry in filter(tarfile.TarInfo.isreg, archive):
                digest = hashlib.sha1(archive.extractfile(entry).read()).hexdigest()
                if entry.pax_headers.get("APK-TOOLS.checksum.SHA1") != digest:
                    sys.exit(f"check-apk: {package}: {entry.name} has another digest")


main()
