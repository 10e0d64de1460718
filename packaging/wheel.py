#!/usr/bin/env python3
"""Makes a wheel that puts a release binary on the PATH.

    wheel.py BINARY MACHINE DIRECTORY

MACHINE is what Python calls the architecture. A static binary needs no C library, so it
fits any: the oldest that pip knows for every architecture are named. The same input gives
the same bytes; SOURCE_DATE_EPOCH is the date of the files.
"""

import base64
import csv
import hashlib
import io
import os
import sys
import time
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def metadata(package):
    readme = (ROOT / "README.md").read_text()
    fields = [
        ("Metadata-Version", "2.4"),
        ("Name", package["name"]),
        ("Version", package["version"]),
        ("Summary", package["description"]),
        ("Keywords", ",".join(package["keywords"])),
        ("License-Expression", package["license"]),
        ("License-File", "LICENSE"),
        ("Project-URL", f"Source, {package['repository']}"),
        ("Classifier", "Operating System :: POSIX :: Linux"),
        ("Description-Content-Type", "text/markdown"),
    ]
    return "".join(f"{name}: {value}\n" for name, value in fields) + "\n" + readme


def main():
    binary, machine, directory = sys.argv[1:]
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    name = f"{package['name']}-{package['version']}"
    platforms = [f"manylinux_2_17_{machine}", f"musllinux_1_1_{machine}"]
    tags = "".join(f"Tag: py3-none-{platform}\n" for platform in platforms)
    files = {
        f"{name}.data/scripts/sexton": Path(binary).read_bytes(),
        f"{name}.data/data/share/man/man8/sexton.8": (ROOT / "doc/sexton.8").read_bytes(),
        f"{name}.dist-info/licenses/LICENSE": (ROOT / "LICENSE").read_bytes(),
        f"{name}.dist-info/sboms/sexton.cdx.json": Path(f"{binary}.cdx.json").read_bytes(),
        f"{name}.dist-info/METADATA": metadata(package).encode(),
        f"{name}.dist-info/WHEEL": f"Wheel-Version: 1.0\nGenerator: sexton\nRoot-Is-Purelib: false\n{tags}".encode(),
    }
    record = io.StringIO()
    lines = csv.writer(record, lineterminator="\n")
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.writerow([path, f"sha256={digest}", len(content)])
    lines.writerow([f"{name}.dist-info/RECORD", "", ""])
    files[f"{name}.dist-info/RECORD"] = record.getvalue().encode()

    date = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
    wheel = Path(directory) / f"{name}-py3-none-{'.'.join(platforms)}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix
            mode = 0o100755 if "/scripts/" in path else 0o100644
            entry.external_attr = mode << 16
            archive.writestr(entry, content, compresslevel=9)


main()
