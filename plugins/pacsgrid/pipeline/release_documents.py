"""The documents of a release: manifest, checksums, RO-Crate metadata (version 1.1), read-me."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacsgrid.grid.layout import RESULTS
from pacsgrid.ledger import InstanceRecord
from pacsgrid.uids import collection, named

Documents = dict[str, bytes]
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ReleaseVersion:
    """A version of a release.

    Attributes
    ----------
    zone
        The name of the zone that holds it.
    project, name, version
        The project, the release's name and the version's number.
    title
        What readers call it.
    rows
        The instances that it lists.
    withdrawn
        How many studies of the version before were withdrawn since.
    """

    zone: str
    project: str
    name: str
    version: int
    title: str
    rows: Sequence[InstanceRecord]
    withdrawn: int = 0

    @property
    def home(self) -> str:
        """The project's collection."""
        return f"/{self.zone}/home/{self.project}"

    @property
    def collection(self) -> str:
        """The version's collection."""
        return f"{self.home}/releases/{self.name}/v{self.version}"


def path_in_project(row: InstanceRecord) -> str:
    """Return an instance's path below its project's collection, and below a fetched release."""
    study = collection(f"data/{named(row.subject)}", row.study_uid)
    place = f"{study}/{RESULTS}/{named(row.result)}" if row.result else study
    return collection(place, row.series_uid, row.sop_uid, suffix=".dcm")


def release_documents(version: ReleaseVersion) -> Documents:
    """Return the documents of a version, by file name."""
    objects = [
        {"path": path_in_project(row), "sha256": row.sha256, "size": row.size}
        for row in version.rows
    ]
    manifest: dict[str, Any] = {
        "release": version.name,
        "version": version.version,
        "project": version.project,
        "title": version.title,
        "withdrawn_since_last_version": version.withdrawn,
        "objects": objects,
    }
    sums = "".join(f"{one['sha256']}  {one['path']}\n" for one in objects)
    return {
        MANIFEST: json.dumps(manifest, indent=1).encode(),
        "SHA256SUMS": sums.encode(),
        "ro-crate-metadata.json": json.dumps(_crate(version), indent=1).encode(),
        "README.md": _readme(version).encode(),
    }


def _crate(version: ReleaseVersion) -> dict[str, Any]:
    """Return the metadata: the root data set has the studies and the manifest as parts."""
    studies: dict[str, list[InstanceRecord]] = {}
    for row in version.rows:
        studies.setdefault(f"data/{row.subject}/{row.study_uid}/", []).append(row)
    parts: list[dict[str, Any]] = [
        {
            "@id": path,
            "@type": "Dataset",
            "name": f"DICOM study {inside[0].study_uid}",
            "identifier": inside[0].study_uid,
            "keywords": sorted({row.modality for row in inside if row.modality}),
            "size": sum(row.size for row in inside),
        }
        for path, inside in studies.items()
    ]
    files: list[dict[str, Any]] = [
        {"@id": MANIFEST, "@type": "File", "encodingFormat": "application/json"},
        {"@id": "SHA256SUMS", "@type": "File", "encodingFormat": "text/plain"},
    ]
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [
            {
                "@id": "ro-crate-metadata.json",
                "@type": "CreativeWork",
                "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
                "about": {"@id": "./"},
            },
            {
                "@id": "./",
                "@type": "Dataset",
                "name": version.title,
                "identifier": version.name,
                "version": str(version.version),
                "hasPart": [{"@id": one["@id"]} for one in (*files, *parts)],
            },
            *files,
            *parts,
        ],
    }


def _readme(version: ReleaseVersion) -> str:
    rows, home = version.rows, version.home
    studies = sorted({f"data/{row.subject}/{row.study_uid}" for row in rows})
    withdrawn = (
        f"\nSince the version before, {version.withdrawn} studies were withdrawn; they are not "
        "listed.\n"
        if version.withdrawn
        else ""
    )
    commands = "\n".join(f"mkdir -p {s} && iget -rK {home}/{s}/ {s}/.." for s in studies)
    return f"""# {version.title}

Release {version.name}, version {version.version}: {len({r.subject for r in rows})} subjects, \
{len(studies)} studies, {len(rows)} instances, {sum(r.size for r in rows):,} bytes.
{withdrawn}
Fetch everything, and compare every object with this release's manifest; after an interruption, run
it again:

    pacsgrid fetch {version.collection} {version.name}-v{version.version}

With iCommands:

```sh
{commands}
```

Then run `sha256sum -c SHA256SUMS` in that directory to see that every file is as released.
"""
