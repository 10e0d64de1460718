#!/usr/bin/env python3
"""The crates that are compiled into a release binary, in the two forms that scanners read.

    dependencies.py list < METADATA > LIST
    dependencies.py bill BINARY TARGET TOOL=VERSION... < METADATA > BILL
    dependencies.py check BILL < LIST-AS-JSON

METADATA is what `cargo metadata --filter-platform TARGET` prints. LIST is for the section
`.dep-v0`: JSON, compressed by zlib, as `cargo auditable` writes it. BILL is a bill of
materials in CycloneDX's JSON. `check` compares the bill with Cargo.lock, and with the list
that was read back from the binary.
"""

import hashlib
import json
import re
import sys
import tomllib
import zlib
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Crates:
    """The crates that the program needs to run (`kind` "runtime") or to be built ("build")."""

    def __init__(self, metadata):
        self.packages = {package["id"]: package for package in metadata["packages"]}
        self.nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
        self.root = metadata["resolve"]["root"]
        self.kinds = {}
        self._visit(self.root, "runtime")
        self.order = sorted(self.kinds, key=lambda crate: (self.name(crate), self.packages[crate]["version"]))

    def _visit(self, crate, kind):
        known = self.kinds.get(crate)
        if known == "runtime" or known == kind:
            return
        self.kinds[crate] = kind
        for needed, needed_kind in self._needs(crate):
            self._visit(needed, "build" if kind == "build" else needed_kind)

    def _needs(self, crate):
        for dependency in self.nodes[crate]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if None in kinds:
                yield dependency["pkg"], "runtime"
            elif "build" in kinds:
                yield dependency["pkg"], "build"

    def needs(self, crate):
        return sorted((needed for needed, _ in self._needs(crate)), key=self.order.index)

    def name(self, crate):
        return self.packages[crate]["name"]


def compose_list(crates):
    packages = []
    for crate in crates.order:
        package = crates.packages[crate]
        source = package["source"] or "local"
        entry = {
            "name": package["name"],
            "version": package["version"],
            "source": "crates.io" if "crates.io-index" in source else source,
        }
        if crates.kinds[crate] == "build":
            entry["kind"] = "build"
        if needs := [crates.order.index(needed) for needed in crates.needs(crate)]:
            entry["dependencies"] = needs
        if crate == crates.root:
            entry["root"] = True
        packages.append(entry)
    text = json.dumps({"packages": packages}, separators=(",", ":"))
    return zlib.compress(text.encode(), 9)


def compose_bill(crates, binary, target, tools):
    locked = locked_packages()

    def reference(crate):
        package = crates.packages[crate]
        return f"pkg:cargo/{package['name']}@{package['version']}"

    def component(crate):
        package = crates.packages[crate]
        result = {
            "type": "application" if crate == crates.root else "library",
            "bom-ref": reference(crate),
            "name": package["name"],
            "version": package["version"],
            "description": package["description"],
            "purl": reference(crate),
        }
        if package["license"]:
            result["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        if checksum := locked[package["name"], package["version"]].get("checksum"):
            result["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        if crates.kinds[crate] == "build":
            result["scope"] = "excluded"
        return result

    main = component(crates.root)
    main["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(Path(binary).read_bytes()).hexdigest()}]
    main["properties"] = [{"name": "sexton:target", "value": target}]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": main,
            "tools": {
                "components": [
                    {"type": "application", "name": name, "version": version}
                    for name, _, version in (tool.partition("=") for tool in tools)
                ]
            },
        },
        "components": [component(crate) for crate in crates.order if crate != crates.root],
        "dependencies": [
            {"ref": reference(crate), "dependsOn": [reference(needed) for needed in crates.needs(crate)]}
            for crate in crates.order
        ],
    }


def locked_packages():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(package["name"], package["version"]): package for package in lock["package"]}


def wanted_by_lock():
    """The crates that Cargo.lock has for the program, those for other systems left out."""
    locked = locked_packages()
    names = list(tomllib.loads((ROOT / "Cargo.toml").read_text())["dependencies"])
    found = set()
    while names:
        name, _, version = names.pop().partition(" ")
        if name.startswith("windows-"):
            continue
        crate = next(key for key in locked if key[0] == name and version in ("", key[1]))
        if crate not in found:
            found.add(crate)
            names += locked[crate].get("dependencies", [])
    return found


def check(bill, audited):
    locked = locked_packages()
    for component in bill["components"]:
        checksum = locked.get((component["name"], component["version"]), {}).get("checksum")
        if [{"alg": "SHA-256", "content": checksum}] != component["hashes"]:
            sys.exit(f"dependencies: {component['purl']} is not that of Cargo.lock")
    billed = {(component["name"], component["version"]) for component in bill["components"]}
    if differing := billed ^ wanted_by_lock():
        sys.exit(f"dependencies: the bill and Cargo.lock differ: {sorted(differing)}")
    main = bill["metadata"]["component"]
    listed = {(package["name"], package["version"]) for package in audited["packages"]}
    if differing := listed ^ (billed | {(main["name"], main["version"])}):
        sys.exit(f"dependencies: the bill and the list in the binary differ: {sorted(differing)}")


def main():
    match sys.argv[1:]:
        case ["list"]:
            sys.stdout.buffer.write(compose_list(Crates(json.load(sys.stdin))))
        case ["bill", binary, target, *tools]:
            bill = compose_bill(Crates(json.load(sys.stdin)), binary, target, tools)
            json.dump(bill, sys.stdout, indent=2)
            print()
        case ["check", bill]:
            check(json.loads(Path(bill).read_text()), json.load(sys.stdin))
        case _:
            sys.exit(re.sub(r"\n\n.*", "", __doc__, flags=re.DOTALL))


main()
