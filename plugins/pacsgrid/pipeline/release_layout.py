"""Names, paths and checksums of a release's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pacsgrid.grid.layout import place_of_result, version_suffix
from pacsgrid.ledger import InstanceRecord
from pacsgrid.uids import collection, named

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
README = "README.md"
RO_CRATE = "ro-crate-metadata.json"
CROISSANT = "croissant.json"
DATACITE = "datacite.json"
SERIES_PARQUET = "series.parquet"
SERIES_CSV = "series.csv"
INSTANCES_PARQUET = "instances.parquet"
DICTIONARY = "data-dictionary.csv"


@dataclass(frozen=True)
class TableFile:
    """A table on disk.

    Attributes
    ----------
    path
        The file.
    sha256, size
        SHA-256 in hex and bytes of it.
    """

    path: Path
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """Its name in the release."""
        return self.path.name


def path_in_project(row: InstanceRecord) -> str:
    """Return an instance's path below its project's collection, and below a fetched release."""
    return collection(series_in_project(row), row.sop_uid, suffix=".dcm")


def series_in_project(row: InstanceRecord) -> str:
    """Return the path of an instance's series below its project's collection."""
    return collection(place_of_result(study_in_project(row), row.result), row.series_uid)


def study_in_project(row: InstanceRecord) -> str:
    """Return the path of an instance's study below its project's collection."""
    suffix = version_suffix(row.version)
    return collection(f"data/{named(row.subject)}", row.study_uid, suffix=suffix)
