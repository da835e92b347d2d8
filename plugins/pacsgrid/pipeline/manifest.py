"""A study's manifest: its instances with their checksums and the attributes for queries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from pacsgrid.deid import REPORT_NAME
from pacsgrid.errors import ZoneError
from pacsgrid.grid.layout import RESULTS
from pacsgrid.ledger import InstanceRecord
from pacsgrid.pipeline.attributes import Json, merge_levels, split_by_level
from pacsgrid.uids import is_uid

MANIFEST = "manifest.json"
# 2: ContrastBolusAgent, KVP, ConvolutionKernel and MagneticFieldStrength came in.
ATTRIBUTES_VERSION = 2


@dataclass(frozen=True)
class ManifestEntry:
    """An instance in a manifest.

    Attributes
    ----------
    series, sop
        SeriesInstanceUID and SOPInstanceUID.
    sha256, size
        SHA-256 in hex and bytes of the file.
    own
        The attributes that its study and series do not have (DICOM JSON).
    place
        Where its series' collection is below the study's: empty, or ``results/<name>/``.
    version
        The version of the study whose collection that is; 0 for the manifest's own.
    """

    series: str
    sop: str
    sha256: str
    size: int
    own: Json
    place: str = ""
    version: int = 0

    @property
    def path(self) -> str:
        """Its path below the study's collection, without ``.dcm``."""
        return f"{self.place}{self.series}/{self.sop}"


@dataclass(frozen=True)
class Manifest:
    """A study's manifest.

    Manifests of early versions have no attributes.

    Attributes
    ----------
    project
        The project's name.
    subject
        The patient's pseudonym.
    study
        StudyInstanceUID.
    profile, profile_hash
        Name and hash of the de-identification profile.
    report_sha256
        SHA-256 of the de-identification report in hex; None without one.
    shared
        The attributes (DICOM JSON model, PS3.18 F.2) that all instances of the study have.
    series
        The attributes that all instances of a series have, by series UID.
    instances
        The instances.
    version
        The study's version.
    attributes_version
        Which attributes were read; the lowest of any instance.
    """

    project: str
    subject: str
    study: str
    profile: str
    profile_hash: str
    report_sha256: str | None
    shared: Json
    series: Mapping[str, Json]
    instances: tuple[ManifestEntry, ...]
    version: int = 1
    attributes_version: int = ATTRIBUTES_VERSION

    @classmethod
    def build(
        cls,
        rows: Sequence[InstanceRecord],
        known: Mapping[str, Json],
        project: str,
        profile: str,
        profile_hash: str,
        report_sha256: str | None,
        attributes_version: int = ATTRIBUTES_VERSION,
    ) -> Self:
        """Build the manifest of a study.

        Parameters
        ----------
        rows
            The study's instances.
        known
            The attributes of each instance, by SOP UID.
        project
            The project's name.
        profile, profile_hash
            Name and hash of the de-identification profile.
        report_sha256
            SHA-256 of the de-identification report in hex; None without one.
        attributes_version
            Which attributes were read; the lowest of any instance.

        Returns
        -------
        Manifest
            The manifest, its instances sorted by UID.
        """
        study, series, own = split_by_level({row.sop_uid: row.series_uid for row in rows}, known)
        return cls(
            project,
            rows[0].subject,
            rows[0].study_uid,
            profile,
            profile_hash,
            report_sha256,
            study,
            series,
            tuple(
                ManifestEntry(r.series_uid, r.sop_uid, r.sha256, r.size, own.get(r.sop_uid, {}))
                for r in sorted(rows, key=lambda r: (r.series_uid, r.sop_uid))
            ),
            rows[0].version,
            attributes_version,
        )

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Parse a manifest; raise ZoneError when it is not one."""
        try:
            given: dict[str, Any] = json.loads(text)
            attributes = given.get("attributes", {})
            listed = [(one["series"], one["sop"]) for one in given["instances"]]
            if not all(is_uid(uid) for uids in listed for uid in uids):
                raise ZoneError(f"a {MANIFEST} lists an instance whose UID is not a UID")
            return cls(
                given["project"],
                given["subject"],
                given["study"],
                given["profile"],
                given["profile_hash"],
                given["report"]["sha256"],
                attributes.get("study", {}),
                attributes.get("series", {}),
                tuple(
                    ManifestEntry(
                        one["series"],
                        one["sop"],
                        one["sha256"],
                        int(one["size"]),
                        one.get("attributes", {}),
                    )
                    for one in given["instances"]
                ),
                int(given.get("version", 1)),
                int(attributes.get("version", 1)),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ZoneError(f"a {MANIFEST} cannot be read: {type(error).__name__}") from None

    def with_result(self, result: Manifest, name: str) -> Manifest:
        """Return this manifest with the instances of a result of the study.

        Parameters
        ----------
        result
            The result's manifest. It may lie in the collection of an earlier version.
        name
            The result's name.
        """
        place = f"{RESULTS}/{name}/"
        known = {one.sop: result.attributes(one) for one in result.instances if one.own}
        uids = {one.sop: one.series for one in result.instances}
        _, series, own = split_by_level(uids, known)
        entries = (
            replace(one, own=own.get(one.sop, {}), place=place, version=result.version)
            for one in result.instances
        )
        return replace(
            self, series={**series, **self.series}, instances=(*self.instances, *entries)
        )

    def attributes(self, one: ManifestEntry) -> Json:
        """Return all attributes of an instance."""
        return merge_levels(self.shared, self.series.get(one.series, {}), one.own)

    def dump(self) -> bytes:
        """Return the manifest as it is stored, with a line for each instance."""
        head = {
            "project": self.project,
            "subject": self.subject,
            "study": self.study,
            **({"version": self.version} if self.version > 1 else {}),
            "profile": self.profile,
            "profile_hash": self.profile_hash,
            "report": {"name": REPORT_NAME, "sha256": self.report_sha256},
            "attributes": {
                "version": self.attributes_version,
                "study": self.shared,
                "series": self.series,
            },
        }
        lines = [f" {json.dumps(key)}: {_short(value)}," for key, value in head.items()]
        instances = [
            "  "
            + _short(
                {
                    "series": one.series,
                    "sop": one.sop,
                    "sha256": one.sha256,
                    "size": one.size,
                    "attributes": one.own,
                }
            )
            for one in self.instances
        ]
        lines.append(' "instances": [\n' + ",\n".join(instances) + "\n ]")
        return ("{\n" + "\n".join(lines) + "\n}\n").encode()


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
