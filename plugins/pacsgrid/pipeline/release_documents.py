"""The documents of a release: manifest, checksums, metadata for machines, script and read-me."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pacsgrid.config.releases import ReleaseSection
from pacsgrid.grid.release_script import NAME as SCRIPT
from pacsgrid.grid.release_script import release_script
from pacsgrid.ledger import InstanceRecord
from pacsgrid.pipeline.release_columns import INSTANCE_COLUMNS, SERIES_COLUMNS
from pacsgrid.pipeline.release_layout import (
    CROISSANT,
    DATACITE,
    INSTANCES_PARQUET,
    MANIFEST,
    README,
    RO_CRATE,
    SERIES_PARQUET,
    SUMS,
    TableFile,
    path_in_project,
    study_in_project,
)
from pacsgrid.pipeline.release_metadata import (
    EarlierVersion,
    ReleaseDescription,
    croissant,
    datacite,
    ro_crate,
)

Documents = dict[str, bytes]


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
    released
        When the version was made.
    terms
        Licence, creators and publisher, from the project's settings.
    doi
        The version's DOI; empty for none.
    earlier
        The version before; None for the first.
    apart
        Names of the collections of studies that it lists some series of, and not all.
    """

    zone: str
    project: str
    name: str
    version: int
    title: str
    rows: Sequence[InstanceRecord]
    withdrawn: int = 0
    released: date = field(default_factory=date.today)
    terms: ReleaseSection = field(default_factory=ReleaseSection)
    doi: str = ""
    earlier: EarlierVersion | None = None
    apart: frozenset[str] = frozenset()

    @property
    def home(self) -> str:
        """The project's collection."""
        return f"/{self.zone}/home/{self.project}"

    @property
    def collection(self) -> str:
        """The version's collection."""
        return f"{self.home}/releases/{self.name}/v{self.version}"


def describe(version: ReleaseVersion) -> ReleaseDescription:
    """Return what the metadata say of a version."""
    studies: dict[str, tuple[str, set[str], int]] = {}
    for row in version.rows:
        path = study_in_project(row)
        uid, kinds, size = studies.get(path, (row.study_uid, set(), 0))
        kinds |= {row.modality} if row.modality else set()
        studies[path] = (uid, kinds, size + row.size)
    return ReleaseDescription(
        project=version.project,
        name=version.name,
        version=version.version,
        title=version.title,
        released=version.released,
        terms=version.terms,
        doi=version.doi,
        earlier=version.earlier,
        subjects=len({row.subject for row in version.rows}),
        instances=len(version.rows),
        bytes=sum(row.size for row in version.rows),
        studies=[(path, uid, sorted(kinds), size) for path, (uid, kinds, size) in studies.items()],
    )


def release_documents(version: ReleaseVersion, tables: Sequence[TableFile] = ()) -> Documents:
    """Return the documents of a version, by file name.

    Parameters
    ----------
    version
        The version.
    tables
        Its tables, which the metadata describe.
    """
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
        "partial_studies": sorted(version.apart),
        "objects": objects,
    }
    sums = "".join(f"{one['sha256']}  {one['path']}\n" for one in objects)
    described = describe(version)
    columns = {SERIES_PARQUET: SERIES_COLUMNS, INSTANCES_PARQUET: INSTANCE_COLUMNS}
    return {
        MANIFEST: _json(manifest),
        SUMS: sums.encode(),
        RO_CRATE: _json(ro_crate(described, tables)),
        CROISSANT: _json(croissant(described, tables, columns)),
        DATACITE: _json(datacite(described)),
        SCRIPT: release_script(version.collection).encode(),
        README: _readme(version, described).encode(),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode()


def _readme(version: ReleaseVersion, described: ReleaseDescription) -> str:
    command = f"iget -f {version.collection}/{SCRIPT} && sh {SCRIPT}"
    withdrawn = (
        f"\nSince the version before, {version.withdrawn} studies were withdrawn; they are not "
        "listed.\n"
        if version.withdrawn
        else ""
    )
    terms = described.terms
    licence = terms.licence or "none; ask the publisher"
    lines = [
        f"- Licence: {licence}",
        *([f"- Terms: {terms.terms}"] if terms.terms else []),
        *([f"- DOI: https://doi.org/{version.doi}"] if version.doi else []),
        *(
            [f"- Version before: v{version.earlier.version} {version.earlier.doi}".rstrip()]
            if version.earlier
            else []
        ),
    ]
    return f"""    {command}

The line above fetches everything with iCommands into `{version.name}-v{version.version}`, and
compares every file with this release's checksums. After an interruption, run it again.
`pacsgrid fetch {version.collection}` does the same.

# {version.title}

Release {version.name}, version {version.version}: {described.subjects} subjects, \
{len(described.studies)} studies, {described.instances} instances, {described.bytes:,} bytes.
{withdrawn}
{chr(10).join(lines)}

| file | holds |
|---|---|
| `series.parquet`, `series.csv` | a row for each series, with its attributes and its path |
| `instances.parquet` | a row for each instance |
| `data-dictionary.csv` | what each column means |
| `{MANIFEST}`, `{SUMS}` | every file with its SHA-256 |
| `{RO_CRATE}`, `{CROISSANT}`, `{DATACITE}` | this description for machines |

```python
import pandas

series = pandas.read_parquet("series.parquet")
thin = series[(series.Modality == "CT") & (series.SliceThickness <= 1.5)]
print(thin.path)
```
"""
