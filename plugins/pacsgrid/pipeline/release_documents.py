"""The documents of a release: manifest, checksums, RO-Crate metadata (version 1.1), read-me."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pacsgrid.ledger import InstanceRow
from pacsgrid.uids import collection, named

Documents = dict[str, bytes]
MANIFEST = "manifest.json"


def path_in_project(row: InstanceRow) -> str:
    """Return an instance's place below its project's collection, and in what is fetched."""
    uids = row.study_uid, row.series_uid, row.sop_uid
    return collection(f"data/{named(row.subject)}", *uids, suffix=".dcm")


def release_documents(
    zone: str,
    project: str,
    name: str,
    version: int,
    title: str,
    rows: Sequence[InstanceRow],
    withdrawn: int,
) -> Documents:
    """Return the files of a version, by name."""
    title = title or f"{project}: {name}"
    objects = [{"path": path_in_project(r), "sha256": r.sha256, "size": r.size} for r in rows]
    manifest: dict[str, Any] = {
        "release": name,
        "version": version,
        "project": project,
        "title": title,
        "withdrawn_since_last_version": withdrawn,
        "objects": objects,
    }
    sums = "".join(f"{one['sha256']}  {one['path']}\n" for one in objects)
    return {
        MANIFEST: json.dumps(manifest, indent=1).encode(),
        "SHA256SUMS": sums.encode(),
        "ro-crate-metadata.json": json.dumps(_crate(name, version, title, rows), indent=1).encode(),
        "README.md": _readme(zone, project, name, version, title, rows, withdrawn).encode(),
    }


def _crate(name: str, version: int, title: str, rows: Sequence[InstanceRow]) -> dict[str, Any]:
    """RO-Crate 1.1: the root data set has the studies as parts and the manifest beside them."""
    studies: dict[str, list[InstanceRow]] = {}
    for row in rows:
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
                "name": title,
                "identifier": name,
                "version": str(version),
                "hasPart": [{"@id": one["@id"]} for one in (*files, *parts)],
            },
            *files,
            *parts,
        ],
    }


def _readme(
    zone: str,
    project: str,
    name: str,
    version: int,
    title: str,
    rows: Sequence[InstanceRow],
    withdrawn: int,
) -> str:
    home = f"/{zone}/home/{project}"
    studies = sorted({f"data/{row.subject}/{row.study_uid}" for row in rows})
    gone = (
        f"\nSince the version before, {withdrawn} studies were withdrawn and are not listed.\n"
        if withdrawn
        else ""
    )
    lines = "\n".join(f"mkdir -p {s} && iget -rK {home}/{s}/ {s}/.." for s in studies)
    return f"""# {title}

Release {name}, version {version}: {len({r.subject for r in rows})} subjects, {len(studies)} \
studies, {len(rows)} instances, {sum(r.size for r in rows):,} bytes.
{gone}
All at once, resumable, every object compared with this release's manifest:

    pacsgrid fetch {home}/releases/{name}/v{version} {name}-v{version}

With iCommands:

```sh
{lines}
```

Then, in that directory, `sha256sum -c SHA256SUMS` says whether everything is as released.
"""
