"""Random samples of deposited instances, and what people found when they looked at them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extras import execute_values

from pacsgrid.ledger.database import Store
from pacsgrid.ledger.records import InstanceRecord
from pacsgrid.ledger.versions import CURRENT

CLEAN = "clean"
"""The verdict of a reader who found nothing that identifies anyone."""


@dataclass(frozen=True)
class SampleRecord:
    """A sample, and how far it is checked.

    Attributes
    ----------
    number
        Of the sample.
    release, version, modality
        What it was drawn from; empty and 0 for the project's verified studies, or all modalities.
    population, size
        How many instances there were, and how many were drawn.
    share_limit, confidence
        The plan: the share of wrong instances that is to be ruled out, and how surely.
    who, drawn_at
        Who drew it, and when.
    checked, found
        How many instances were looked at, and in how many something was found.
    """

    number: int
    release: str
    version: int
    modality: str
    population: int
    size: int
    share_limit: float
    confidence: float
    who: str
    drawn_at: datetime
    checked: int
    found: int


@dataclass(frozen=True)
class SampleItem:
    """An instance of a sample.

    Attributes
    ----------
    number
        Its place in the sample, from 1.
    sop_uid
        Its pseudonymous SOP Instance UID.
    instance
        The instance; None if its patient withdrew since.
    verdicts
        The last verdict of each reader, by the reader's name.
    """

    number: int
    sop_uid: str
    instance: InstanceRecord | None
    verdicts: dict[str, str]


# The last verdict of each reader about each instance.
_LAST = (
    "SELECT DISTINCT ON (sample, number, who) sample, number, who, kind"
    " FROM pacsgrid.sample_verdict WHERE sample = ANY(%(samples)s)"
    " ORDER BY sample, number, who, id DESC"
)
# Instances that may be drawn. The seed makes the order: who knows it can draw the same again.
_POPULATION = (
    "FROM pacsgrid.instance i JOIN pacsgrid.study s USING (ref) WHERE s.project = %(project)s"
    " AND s.state = 'verified' AND i.result = ''"
    " AND (%(modality)s = '' OR i.modality = %(modality)s)"
)
_OF_RELEASE = (
    " AND i.ref IN (SELECT ref FROM pacsgrid.release_study WHERE project = %(project)s"
    " AND name = %(release)s AND version = %(version)s)"
)


class Samples(Store):
    """Samples for a human double check of what was released."""

    def draw(
        self,
        project: str,
        release: tuple[str, int] | None,
        modality: str,
        plan: tuple[float, float],
        size: Callable[[int], int],
        who: str,
    ) -> int:
        """Draw a simple random sample of instances, and enter it.

        Parameters
        ----------
        project
            The project's name.
        release
            Name and version of a release; None for all verified studies.
        modality
            Only instances of this modality; empty for all.
        plan
            The share of wrong instances that is to be ruled out, and how surely.
        size
            Returns the size of the sample for a population.
        who
            Who draws it.

        Returns
        -------
        int
            The sample's number; 0 when there is nothing to draw from.

        Raises
        ------
        RetryableError
            The database does not answer.
        """
        name, version = release or ("", 0)
        seed = secrets.token_hex(16)
        chosen = _POPULATION + (_OF_RELEASE if release else f" AND {CURRENT}")
        values = {
            "project": project, "release": name, "version": version, "modality": modality,
            "seed": seed,
        }  # fmt: skip
        with self._database.transaction() as cursor:
            cursor.execute(f"SELECT count(*) {chosen}", values)
            (population,) = cursor.fetchone() or (0,)
            if not population:
                return 0
            values["size"] = size(population)
            cursor.execute(
                f"SELECT i.sop_uid {chosen}"
                " ORDER BY sha256(convert_to(%(seed)s || i.sop_uid, 'UTF8')) LIMIT %(size)s",
                values,
            )
            drawn = [uid for (uid,) in cursor.fetchall()]
            cursor.execute(
                "INSERT INTO pacsgrid.sample (project, release, version, modality, population,"
                " size, share_limit, confidence, seed, who)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
                (project, name, version, modality, population, len(drawn), *plan, seed, who),
            )
            (number,) = cursor.fetchone() or (0,)
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.sample_item (sample, number, sop_uid) VALUES %s",
                [(number, place, uid) for place, uid in enumerate(drawn, 1)],
            )
        return int(number)

    def of_project(self, project: str) -> list[SampleRecord]:
        """Return the project's samples, the oldest first."""
        rows = self._database.all(
            "SELECT id, release, version, modality, population, size, share_limit, confidence,"
            " who, drawn_at FROM pacsgrid.sample WHERE project = %s ORDER BY id",
            (project,),
        )
        counts = {
            sample: (checked, found)
            for sample, checked, found in self._database.all(
                f"SELECT sample, count(*), count(*) FILTER (WHERE found) FROM (SELECT sample,"
                f" number, bool_or(kind <> %(clean)s) AS found FROM ({_LAST}) last"
                " GROUP BY sample, number) items GROUP BY sample",
                {"samples": [row[0] for row in rows], "clean": CLEAN},
            )
        }
        return [SampleRecord(*(*row, *counts.get(row[0], (0, 0)))) for row in rows]

    def items(self, project: str, sample: int) -> list[SampleItem]:
        """Return the instances of a sample, in the order in which they were drawn.

        Parameters
        ----------
        project
            The project's name.
        sample
            The sample's number.

        Returns
        -------
        list of SampleItem
            Empty if the project has no such sample.
        """
        rows = self._database.all(
            "SELECT t.number, t.sop_uid, i.study_uid, i.series_uid, i.sop_uid, i.subject,"
            " i.modality, i.sha256, i.size, i.version FROM pacsgrid.sample_item t"
            " JOIN pacsgrid.sample m ON m.id = t.sample AND m.project = %s"
            " LEFT JOIN LATERAL (SELECT * FROM pacsgrid.instance i WHERE i.project = m.project"
            " AND i.sop_uid = t.sop_uid ORDER BY version DESC LIMIT 1) i ON true"
            " WHERE t.sample = %s ORDER BY t.number",
            (project, sample),
        )
        verdicts: dict[int, dict[str, str]] = {}
        for _, number, who, kind in self._database.all(_LAST, {"samples": [sample]}):
            verdicts.setdefault(number, {})[who] = kind
        return [
            SampleItem(
                number,
                uid,
                InstanceRecord(*row) if row[0] is not None else None,
                verdicts.get(number, {}),
            )
            for number, uid, *row in rows
        ]

    def add_verdicts(self, sample: int, who: str, verdicts: Iterable[tuple[int, str]]) -> None:
        """Enter what a reader saw, all of it or none.

        Parameters
        ----------
        sample
            The sample's number.
        who
            The reader's name.
        verdicts
            Each instance's place in the sample, and the verdict.

        Raises
        ------
        RetryableError
            The database does not answer.
        """
        with self._database.transaction() as cursor:
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.sample_verdict (sample, number, kind, who) VALUES %s",
                [(sample, number, kind, who) for number, kind in verdicts],
            )

    def findings(self, project: str) -> dict[str, int]:
        """Return in how many instances each kind of finding was made, by any reader."""
        rows = self._database.all("SELECT id FROM pacsgrid.sample WHERE project = %s", (project,))
        found = self._database.all(
            f"SELECT kind, count(DISTINCT (sample, number)) FROM ({_LAST}) last"
            " WHERE kind <> %(clean)s GROUP BY kind ORDER BY kind",
            {"samples": [number for (number,) in rows], "clean": CLEAN},
        )
        return {kind: int(count) for kind, count in found}
