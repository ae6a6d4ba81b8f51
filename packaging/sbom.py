#!/usr/bin/env python3
"""Prints what is compiled into the program as a CycloneDX 1.5 document, from Cargo.lock and `cargo metadata`.

The same tree gives the same bytes: the serial number follows from the components, the time is SOURCE_DATE_EPOCH.
"""

import datetime
import hashlib
import json
import os
import subprocess
import sys
import tomllib
import urllib.parse
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def cargo(*words):
    return subprocess.run(["cargo", *words, "--locked"], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def compiled(host):
    """Each package that the program is made of, and its dependencies: with the features that a build of the program
    has, which `cargo metadata` does not know, and without what only tests and builds need."""
    words = ["-p", "adit", "--target", host, "-e", "normal", "--prefix", "depth", "--format", " {p}"]
    edges, way = {}, []
    for line in cargo("tree", *words).splitlines():
        depth, name, version = line.split()[:3]
        package = (name, version.removeprefix("v"))
        # What is below a package is printed once, at its first place.
        del way[int(depth) :]
        edges.setdefault(package, set())
        if way:
            edges[way[-1]].add(package)
        way.append(package)
    return edges


def reference(package):
    return f"pkg:cargo/{package['name']}@{urllib.parse.quote(package['version'])}"


def component(package, checksums):
    found = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package.get("description"):
        found["description"] = " ".join(package["description"].split())
    if package.get("license"):
        # Cargo.toml may still have the old `A/B` for `A OR B`.
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def main():
    host = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = next(line.split(": ")[1] for line in host.splitlines() if line.startswith("host: "))
    metadata = json.loads(cargo("metadata", "--format-version=1", "--filter-platform", host))
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
    with open(os.path.join(ROOT, "Cargo.lock"), "rb") as lock:
        locked = tomllib.load(lock)["package"]
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in locked}
    edges = compiled(host)
    start = next(package for package in edges if package[0] == "adit")
    others = sorted((packages[name] for name in edges if name != start), key=reference)
    program = component(packages[start], checksums) | {"type": "application"}
    dependencies = [
        {"ref": reference(packages[name]), "dependsOn": sorted(reference(packages[dep]) for dep in deps)}
        for name, deps in edges.items()
    ]
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).isoformat(),
            "component": program,
        },
        "components": [component(package, checksums) for package in others],
        "dependencies": sorted(dependencies, key=lambda entry: entry["ref"]),
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).digest()
    document["serialNumber"] = f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=5)}"
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    print()


main()
