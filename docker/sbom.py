#!/usr/bin/env python3
"""Turns the lists of packages that an image holds into a bill of materials, CycloneDX 1.5.

    sbom.py IMAGE < LISTS

The lists, with form feeds between them: what `dpkg-query -W` prints, what `pip inspect` prints,
and the viewer's package.json. The latter two may be empty. `./site NAME sbom` runs it for each
image.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote


def bill(image: str, lists: str) -> dict[str, Any]:
    """Return the bill of an image; the same lists make the same bill."""
    name, _, version = image.rpartition(":")
    components = sorted(_components(lists), key=lambda one: one["purl"])
    told = json.dumps([image, components], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, told)}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": version}},
        "components": components,
    }


def _components(lists: str) -> Iterator[dict[str, Any]]:
    debian, python, viewer = lists.split("\f")
    for line in debian.split("\n")[:-1]:
        package, _, version = line.partition("\t")
        name, _, architecture = package.partition(":")
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}"
        yield _component(name, version, purl + (f"?arch={architecture}" if architecture else ""))
    for one in json.loads(python)["installed"] if python else ():
        about = one["metadata"]
        name = about["name"].lower().replace("_", "-")
        purl = f"pkg:pypi/{quote(name)}@{quote(about['version'])}"
        yield _component(about["name"], about["version"], purl, _licence(about))
    if viewer:
        about = json.loads(viewer)
        purl = f"pkg:npm/{quote(about['name'])}@{quote(about['version'])}"
        licence = {"expression": about["license"]} if about.get("license") else None
        yield _component(about["name"], about["version"], purl, licence)


def _licence(about: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a Python package's metadata say of its licence, the surest first."""
    if expression := about.get("license_expression"):
        return {"expression": expression}
    for classifier in about.get("classifier", ()):
        if classifier.startswith("License :: OSI Approved :: "):
            return {"license": {"name": classifier.rpartition(" :: ")[2]}}
    # Some put the whole text there.
    text = about.get("license", "").strip()
    return {"license": {"name": text}} if text and "\n" not in text else None


def _component(
    name: str, version: str, purl: str, licence: dict[str, Any] | None = None
) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version}
    made["purl"] = purl
    if licence:
        made["licenses"] = [licence]
    return made


if __name__ == "__main__":
    json.dump(bill(sys.argv[1], sys.stdin.read()), sys.stdout, indent=1)
