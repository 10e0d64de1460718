#!/usr/bin/env python3
"""Makes the image of the release binaries: one index for all architectures.

    image.py DIST IMAGE

DIST has ARCH/sexton and ARCH/sexton.cdx.json. IMAGE is a tar archive: an OCI image layout,
and in the same archive the older form of `docker save`, as Docker before version 25 loads no
other; that names an image for each architecture, `localhost/sexton:VERSION-ARCH`. The same input gives the same bytes; SOURCE_DATE_EPOCH is
the date.
"""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent

# What the Open Container Initiative calls the architectures of dist/.
PLATFORMS = {
    "x86_64": {"architecture": "amd64"},
    "aarch64": {"architecture": "arm64"},
    "armv7": {"architecture": "arm", "variant": "v7"},
    "riscv64": {"architecture": "riscv64"},
    "ppc64le": {"architecture": "ppc64le"},
    "s390x": {"architecture": "s390x"},
}

# The names of other inits, whose defaults sexton takes when called by them.
LINKS = ["tini", "dumb-init", "catatonit"]

# Not root, as nothing needs it. A number, as Kubernetes' runAsNonRoot knows no names.
USER = "65532:65532"

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
BILL = "application/vnd.cyclonedx+json"


class Layout:
    """The blobs of an image layout, and what refers to them."""

    def __init__(self):
        self.files = {}

    def add(self, media_type, content, **more):
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content), **more}

    def add_json(self, media_type, value, **more):
        return self.add(media_type, encode(value), **more)

    def write(self, path, date):
        write_tar(path, [(regular(name, 0o644, date), content) for name, content in sorted(self.files.items())])


def encode(value):
    return json.dumps(value, separators=(",", ":")).encode()


def regular(name, mode, date):
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime = mode, date
    return entry


def write_tar(target, entries):
    target = {"fileobj": target} if isinstance(target, io.BytesIO) else {"name": target}
    with tarfile.open(**target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def compose_layer(binary, date):
    entries = [(regular("sexton", 0o755, date), binary)]
    for name in LINKS:
        entry = regular(name, 0o777, date)
        entry.type, entry.linkname = tarfile.SYMTYPE, "sexton"
        entries.append((entry, b""))
    layer = io.BytesIO()
    write_tar(layer, entries)
    return layer.getvalue()


def revision():
    command = ["git", "-C", ROOT, "rev-parse", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None


def main():
    dist, target = Path(sys.argv[1]), sys.argv[2]
    date = int(os.environ["SOURCE_DATE_EPOCH"])
    created = datetime.fromtimestamp(date, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    labels = {
        "org.opencontainers.image.title": package["name"],
        "org.opencontainers.image.description": package["description"],
        "org.opencontainers.image.version": package["version"],
        "org.opencontainers.image.licenses": package["license"],
        "org.opencontainers.image.source": package["repository"],
        "org.opencontainers.image.created": created,
    }
    if commit := revision():
        labels["org.opencontainers.image.revision"] = commit

    layout = Layout()
    manifests, bills, docker = [], [], []
    for arch, platform in PLATFORMS.items():
        binary = dist / arch / "sexton"
        if not binary.exists():
            continue
        layer = compose_layer(binary.read_bytes(), date)
        config = {
            "created": created,
            **platform,
            "os": "linux",
            "config": {
                "User": USER,
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/"],
                "Entrypoint": ["/sexton"],
                "Labels": labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created": created, "created_by": "packaging/image.py"}],
        }
        config_blob = layout.add_json("application/vnd.oci.image.config.v1+json", config)
        layer_blob = layout.add(
            "application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(layer, 9, mtime=0)
        )
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config_blob,
            "layers": [layer_blob],
            "annotations": labels,
        }
        manifest_blob = layout.add_json(MANIFEST, manifest)
        manifests.append({**manifest_blob, "platform": {**platform, "os": "linux"}})

        # The list of crates names its image as its subject, by which registries find it. It
        # is in the index, too, for a copy of the whole; its platform is one that runs nothing.
        bill = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": BILL,
            "config": layout.add(EMPTY, b"{}"),
            "layers": [layout.add(BILL, (dist / arch / "sexton.cdx.json").read_bytes())],
            "subject": manifest_blob,
        }
        nowhere = {"architecture": "unknown", "os": "unknown"}
        bills.append(layout.add_json(MANIFEST, bill, artifactType=BILL, platform=nowhere))

        name = f"localhost/sexton:{package['version']}-{platform['architecture']}"
        docker.append({"Config": path_of(config_blob), "RepoTags": [name], "Layers": [path_of(layer_blob)]})

    index_type = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": index_type, "manifests": manifests + bills, "annotations": labels}
    # Podman and Docker call the loaded image by the second, skopeo finds it by the first.
    name = {
        "org.opencontainers.image.ref.name": package["version"],
        "io.containerd.image.name": f"localhost/sexton:{package['version']}",
    }
    index_blob = layout.add_json(index_type, index, annotations=name)
    layout.files["oci-layout"] = encode({"imageLayoutVersion": "1.0.0"})
    layout.files["index.json"] = encode(
        {"schemaVersion": 2, "mediaType": index_type, "manifests": [index_blob]}
    )
    layout.files["manifest.json"] = encode(docker)
    layout.write(target, date)


def path_of(blob):
    return "blobs/" + blob["digest"].replace(":", "/")


main()
