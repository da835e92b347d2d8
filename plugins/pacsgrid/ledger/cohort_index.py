"""The cohort index: which series have which values, and what a query selects of them.

Each series has the array of its terms, its study's among them, and an inverted index (GIN) finds
the series of a term. A query becomes one boolean expression over the array: PostgreSQL reads the
series that match and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg2.extras import execute_values

from pacsgrid.cohort_query import Node
from pacsgrid.ledger.cohort_sql import PROJECT, compile_query
from pacsgrid.ledger.connection import Cursor
from pacsgrid.ledger.database import Store
from pacsgrid.ledger.versions import CURRENT

SUBJECT = "pacsgrid.subject"
BODY_PARTS = "pacsgrid.body_parts"
# Series are entered and read in pieces of this size.
_PIECE = 2000


@dataclass(frozen=True)
class Term:
    """A value of an attribute.

    Attributes
    ----------
    attribute
        The attribute's keyword.
    text
        The value as it is compared.
    label
        The value as it is shown.
    low, high
        The numbers it stands for; None for a text.
    """

    attribute: str
    text: str
    label: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SeriesEntry:
    """A series for the index.

    Attributes
    ----------
    series_uid
        Its Series Instance UID.
    terms
        Its values, those of its study included.
    modality, body_part, manufacturer
        The first value of the attribute, which distributions count.
    thickness
        The least slice thickness in mm.
    instances, bytes
        What it holds.
    """

    series_uid: str
    terms: frozenset[Term]
    modality: Term | None
    body_part: Term | None
    manufacturer: Term | None
    thickness: float | None
    instances: int
    bytes: int


@dataclass(frozen=True)
class StudyEntry:
    """A study for the index.

    Attributes
    ----------
    ref, project, subject
        The study's reference, its project and its patient's pseudonym.
    sex
        The value of PatientSex.
    body_parts
        The body parts of all its series, as one value.
    age
        In years.
    month
        Of the study date, as YYYYMM.
    series
        Its series.
    """

    ref: str
    project: str
    subject: str
    sex: Term | None
    body_parts: Term | None
    age: float | None
    month: int | None
    series: tuple[SeriesEntry, ...]


@dataclass(frozen=True)
class Selection:
    """What a cohort is made of.

    Attributes
    ----------
    project
        The project.
    query
        What a series must match; None for every series.
    excluded
        UIDs of series that are left out.
    refs
        Only these studies, where it is not None.
    """

    project: str
    query: Node | None = None
    excluded: frozenset[str] = frozenset()
    refs: tuple[str, ...] | None = None


@dataclass(frozen=True)
class CohortCounts:
    """How much a query selects.

    Attributes
    ----------
    subjects, studies, series
        How many there are.
    instances, bytes
        Of the series that match.
    study_instances, study_bytes
        Of the whole studies.
    """

    subjects: int = 0
    studies: int = 0
    series: int = 0
    instances: int = 0
    bytes: int = 0
    study_instances: int = 0
    study_bytes: int = 0


@dataclass(frozen=True)
class FoundSeries:
    """A series that a query selects.

    Attributes
    ----------
    ref, study_uid, subject
        Its study's reference, UID and patient's pseudonym.
    series_uid
        Its Series Instance UID.
    labels
        Values that are shown, by attribute.
    instances, bytes
        What it holds.
    """

    ref: str
    study_uid: str
    subject: str
    series_uid: str
    labels: Mapping[str, str] = field(hash=False)
    instances: int
    bytes: int


@dataclass(frozen=True)
class Cell:
    """Studies that agree in every quasi-identifier, and how many patients they have.

    Attributes
    ----------
    values
        The value of each quasi-identifier, as it is shown.
    subjects
        Number of patients.
    refs
        The studies' references.
    """

    values: tuple[str, ...]
    subjects: int
    refs: tuple[str, ...]


# Columns of a study `s` for each quasi-identifier; those in _TERMS are numbers of terms.
_QUASI = {
    "age": "(floor(s.age / %(bin)s) * %(bin)s)::integer",
    "sex": "s.sex",
    "body_part": "s.body_parts",
    "study_month": "s.month",
}
_TERMS = {"sex", "body_part"}
QUASI_IDENTIFIERS = tuple(_QUASI)

# What distributions show: SQL over the series `m` that match and their studies `s`.
_SHOWN_OF_SERIES = ("modality", "body_part", "manufacturer")
_THICKNESS = (
    "CASE WHEN m.thickness IS NULL THEN NULL ELSE least(floor(m.thickness * 2) / 2, 10) END"
)
DISTRIBUTIONS = ("sex", "age", "year", *_SHOWN_OF_SERIES, "thickness")
_MOST_BARS = 40


class CohortIndex(Store):
    """The values of every deposited series, and the cohorts that queries select."""

    # -- entering ---------------------------------------------------------------------------

    def put(self, studies: Sequence[StudyEntry]) -> None:
        """Enter studies, or replace what the index has of them, in one transaction.

        A study that was withdrawn is left out.
        """
        ids = self._term_ids(studies)
        with self._database.transaction() as cursor:
            for study in sorted(studies, key=lambda one: one.ref):
                key = _put_study(cursor, study, ids)
                if key is not None:
                    _put_series(cursor, key, study, ids)
            cursor.execute(
                "DELETE FROM pacsgrid.cohort_pending WHERE ref = ANY(%s)",
                ([study.ref for study in studies],),
            )

    def _term_ids(self, studies: Sequence[StudyEntry]) -> dict[tuple[str, str], int]:
        """Return the ids of all terms, after entering those that are new."""
        wanted: dict[tuple[str, str], Term] = {}
        for study in studies:
            for term in _terms(study):
                wanted.setdefault((term.attribute, term.text), term)
        keys = sorted(wanted)
        ids: dict[tuple[str, str], int] = {}
        for start in range(0, len(keys), _PIECE):
            piece = keys[start : start + _PIECE]
            found = self._find_terms(piece)
            new = [wanted[key] for key in piece if key not in found]
            if new:
                # In a transaction of its own, so that nobody waits for the whole study; sorted,
                # so that two never wait for each other.
                with self._database.transaction() as cursor:
                    execute_values(
                        cursor,
                        "INSERT INTO pacsgrid.cohort_term (attribute, text, label, low, high)"
                        " VALUES %s ON CONFLICT DO NOTHING",
                        [(t.attribute, t.text, t.label or t.text, t.low, t.high) for t in new],
                    )
                found = self._find_terms(piece)
            ids |= found
        return ids

    def _find_terms(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        rows = self._database.all(
            "SELECT attribute, text, id FROM pacsgrid.cohort_term"
            " JOIN unnest(%s::text[], %s::text[]) AS wanted (attribute, text)"
            " USING (attribute, text)",
            ([attribute for attribute, _ in keys], [text for _, text in keys]),
        )
        return {(attribute, text): number for attribute, text, number in rows}

    def pending(self, project: str, after: str = "", limit: int = 500) -> list[str]:
        """Return references of deposited studies that the index lacks, in order.

        Parameters
        ----------
        project
            The project's name.
        after
            The last reference of the piece before.
        limit
            How many at most.
        """
        rows = self._database.all(
            "SELECT ref FROM pacsgrid.cohort_pending WHERE project = %s AND ref > %s"
            " ORDER BY ref LIMIT %s",
            (project, after, limit),
        )
        return [ref for (ref,) in rows]

    # -- asking -----------------------------------------------------------------------------

    def count(self, cohort: Selection) -> CohortCounts:
        """Count what a cohort's verified studies hold."""
        matched, values = self._matched(cohort)
        ((*found,),) = self._rows(
            f"WITH {matched}, studies AS (SELECT study, count(*) AS series,"
            " sum(instances) AS instances, sum(bytes) AS bytes FROM m GROUP BY study)"
            " SELECT count(DISTINCT s.person), count(*), coalesce(sum(x.series), 0)::bigint,"
            " coalesce(sum(x.instances), 0)::bigint, coalesce(sum(x.bytes), 0)::bigint,"
            " coalesce(sum(s.instances), 0)::bigint, coalesce(sum(s.bytes), 0)::bigint"
            " FROM studies x JOIN pacsgrid.cohort_study s ON s.id = x.study",
            values,
        )
        return CohortCounts(*found)

    def distributions(self, cohort: Selection) -> dict[str, list[tuple[str, int]]]:
        """Return how a cohort's patients, studies and series are distributed.

        Parameters
        ----------
        cohort
            The cohort.

        Returns
        -------
        dict
            For each of `DISTRIBUTIONS` the values, as they are shown, with how many studies (sex,
            age by decade, year) or series have them. An empty value stands for none.
        """
        matched, values = self._matched(cohort)
        sets = ", ".join(f"({name})" for name in (*_SHOWN_OF_SERIES, "thickness"))
        # One statement, so that the series are searched once.
        counted = self._rows(
            f"WITH {matched}, g AS (SELECT modality, body_part, manufacturer, {_THICKNESS} AS"
            " thickness, count(*) AS series FROM m GROUP BY 1, 2, 3, 4),"
            " h AS (SELECT s.sex, floor(s.age / 10) * 10 AS age, s.month / 100 AS year"
            " FROM pacsgrid.cohort_study s WHERE s.id IN (SELECT study FROM m))"
            " SELECT true, grouping(modality, body_part, manufacturer, thickness), modality,"
            " body_part, manufacturer, thickness, sum(series)::bigint FROM g"
            f" GROUP BY GROUPING SETS ({sets})"
            " UNION ALL SELECT false, grouping(sex, age, year), sex, NULL, age::integer, year,"
            " count(*) FROM h GROUP BY GROUPING SETS ((sex), (age), (year))",
            values,
        )
        of_series = [row[1:] for row in counted if row[0]]
        of_studies = [(*row[1:3], *row[4:]) for row in counted if not row[0]]
        labels = self._labels(
            value for row in of_series for value in row[1:4] if value is not None
        ) | self._labels(row[1] for row in of_studies if row[1] is not None)
        found: dict[str, list[tuple[str, int]]] = {name: [] for name in DISTRIBUTIONS}
        for which, names, rows in (
            (of_series, (*_SHOWN_OF_SERIES, "thickness"), 4),
            (of_studies, ("sex", "age", "year"), 3),
        ):
            for mask, *row in which:
                place = rows - (~mask & ((1 << rows) - 1)).bit_length()  # the one bit that is 0
                name, value = names[place], row[place]
                shown = (
                    ""
                    if value is None
                    else labels.get(value, "")
                    if name in (*_SHOWN_OF_SERIES, "sex")
                    else f"{value:g}"
                )
                found[name].append((shown, row[-1]))
        for name, bars in found.items():
            numeric = name in ("age", "year", "thickness")
            bars.sort(
                key=lambda bar: (float(bar[0] or "inf"), "") if numeric else (-bar[1], bar[0])
            )
            del bars[_MOST_BARS:]
        return found

    def _labels(self, ids: Iterable[int]) -> dict[int, str]:
        rows = self._database.all(
            "SELECT id, label FROM pacsgrid.cohort_term WHERE id = ANY(%s)", (sorted(set(ids)),)
        )
        return dict(rows)

    def series_of(self, cohort: Selection) -> dict[str, set[str]]:
        """Return the UIDs of the series that a cohort has, by their studies' references."""
        matched, values = self._matched(cohort)
        found: dict[str, set[str]] = {}
        with self._by_index():
            for ref, series in self._database.stream(
                f"WITH {matched} SELECT s.ref, m.series_uid FROM m"
                " JOIN pacsgrid.cohort_study s ON s.id = m.study",
                values,
            ):
                found.setdefault(ref, set()).add(series)
        return found

    def page(self, cohort: Selection, after: str = "", limit: int = 50) -> list[FoundSeries]:
        """Return a page of a cohort's series, in the order of their studies' references.

        Parameters
        ----------
        cohort
            The cohort.
        after
            The last study's reference of the page before.
        limit
            How many studies at most.

        Returns
        -------
        list of FoundSeries
            All matching series of at most `limit` studies.
        """
        matched, values = self._matched(cohort)
        rows = self._rows(
            f"WITH {matched}, s AS (SELECT s.id, s.ref FROM pacsgrid.cohort_study s"
            " WHERE s.id IN (SELECT study FROM m) AND s.ref > %(after)s"
            " ORDER BY s.ref LIMIT %(limit)s)"
            " SELECT s.ref, y.study_uid, y.subject, m.series_uid, (SELECT array_agg(ARRAY["
            "t.attribute, t.label] ORDER BY t.attribute, t.text) FROM pacsgrid.cohort_series x"
            " JOIN pacsgrid.cohort_term t ON t.id = ANY(x.terms) WHERE x.id = m.id AND t.text <> ''"
            " AND t.attribute = ANY(%(shown)s)), m.instances, m.bytes"
            " FROM s JOIN m ON m.study = s.id JOIN pacsgrid.study y ON y.ref = s.ref"
            " ORDER BY s.ref, m.series_uid",
            {**values, "after": after, "limit": limit, "shown": list(_SHOWN)},
        )
        found = []
        for ref, study, subject, series, pairs, instances, size in rows:
            labels: dict[str, str] = {}
            for attribute, label in pairs or ():
                labels[attribute] = (
                    f"{labels[attribute]}, {label}" if attribute in labels else label
                )
            found.append(FoundSeries(ref, study, subject, series, labels, instances, size))
        return found

    def cells(
        self, cohort: Selection, quasi_identifiers: Sequence[str], age_bin: int, below: int
    ) -> list[Cell]:
        """Return the cells of a cohort that have fewer patients than asked for, the least first.

        Parameters
        ----------
        cohort
            The cohort.
        quasi_identifiers
            Which of `QUASI_IDENTIFIERS` make a cell.
        age_bin
            Width of a bin of the age, in years.
        below
            The number of patients that a cell must have.
        """
        matched, values = self._matched(cohort)
        columns = ", ".join(_QUASI[name] for name in quasi_identifiers)
        rows = self._rows(
            f"WITH {matched} SELECT {columns}, count(DISTINCT s.person), array_agg(s.ref)"
            " FROM pacsgrid.cohort_study s WHERE s.id IN (SELECT study FROM m)"
            f" GROUP BY {columns} HAVING count(DISTINCT s.person) < %(below)s",
            {**values, "bin": age_bin, "below": below},
        )
        named = [name in _TERMS for name in quasi_identifiers]
        labels = self._labels(
            value
            for row in rows
            for is_term, value in zip(named, row[:-2], strict=True)
            if is_term and value is not None
        )
        cells = []
        for *cell, subjects, refs in rows:
            texts = tuple(
                "" if value is None else labels[value] if is_term else str(value)
                for is_term, value in zip(named, cell, strict=True)
            )
            cells.append(Cell(texts, subjects, tuple(sorted(refs))))
        return sorted(cells, key=lambda cell: (cell.subjects, cell.values))

    def missing(self, refs: Sequence[str]) -> list[str]:
        """Return those of some studies that the index lacks."""
        rows = self._database.all(
            "SELECT ref FROM unnest(%s::text[]) AS wanted (ref) WHERE NOT EXISTS"
            " (SELECT FROM pacsgrid.cohort_study s WHERE s.ref = wanted.ref) ORDER BY ref",
            (list(refs),),
        )
        return [ref for (ref,) in rows]

    def explain(self, cohort: Selection) -> str:
        """Return PostgreSQL's plan of finding a cohort's series."""
        matched, values = self._matched(cohort)
        rows = self._rows(f"EXPLAIN (ANALYZE) WITH {matched} SELECT count(*) FROM m", values)
        return "\n".join(line for (line,) in rows)

    def _rows(self, sql: str, values: Mapping[str, object]) -> list[Any]:
        with self._by_index():
            return self._database.all(sql, values)

    @contextmanager
    def _by_index(self) -> Iterator[None]:
        """Let the statements of the block find series by the inverted index.

        PostgreSQL counts a comparison of two arrays as cheap as one of two numbers, and would
        compare the terms of every series instead. The memory is for the bitmap of what is found.
        """
        with self._database.transaction() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL work_mem = '32MB'")
            yield

    def _matched(self, cohort: Selection) -> tuple[str, dict[str, object]]:
        """Return the common table expression `m`, the series of a cohort, and its values."""
        where, values = compile_query(self._database, cohort.project, cohort.query)
        if cohort.excluded:
            where += " AND x.series_uid <> ALL(%(excluded)s)"
            values["excluded"] = sorted(cohort.excluded)
        if cohort.refs is not None:
            where += (
                " AND x.study IN (SELECT id FROM pacsgrid.cohort_study WHERE ref = ANY(%(refs)s))"
            )
            values["refs"] = list(cohort.refs)
        return (
            "m AS MATERIALIZED (SELECT x.id, x.study, x.series_uid, x.modality, x.body_part,"
            " x.manufacturer, x.thickness, x.instances, x.bytes FROM pacsgrid.cohort_series x"
            f" WHERE {where} AND {_VERIFIED})",
            values,
        )


# Almost every study is verified; a join with all of them takes longer than the search.
_VERIFIED = "x.study NOT IN (SELECT id FROM pacsgrid.cohort_study WHERE NOT verified)"
_SHOWN = (
    "Modality",
    "BodyPartExamined",
    "SeriesDescription",
    "StudyDescription",
    "Manufacturer",
    "ManufacturerModelName",
    "SliceThickness",
    "PatientAge",
    "PatientSex",
    "StudyDate",
    "ContrastBolusAgent",
)


def _terms(study: StudyEntry) -> set[Term]:
    found = {Term(PROJECT, study.project), Term(SUBJECT, study.subject)}
    some = [study.sex, study.body_parts]
    for series in study.series:
        found |= series.terms
        some += [series.modality, series.body_part, series.manufacturer]
    return found | {one for one in some if one is not None}


def _id(ids: Mapping[tuple[str, str], int], term: Term | None) -> int | None:
    return None if term is None else ids[term.attribute, term.text]


def _put_study(cursor: Cursor, study: StudyEntry, ids: Mapping[tuple[str, str], int]) -> int | None:
    """Enter a study; return its number, or None if it was withdrawn or superseded."""
    cursor.execute(
        "INSERT INTO pacsgrid.cohort_study AS old (ref, project, verified, person, sex, body_parts,"
        " age, month, instances, bytes) SELECT ref, project, state = 'verified'"
        f" AND {CURRENT}, %(person)s, %(sex)s, %(body_parts)s, %(age)s, %(month)s, %(instances)s,"
        " %(bytes)s FROM pacsgrid.study s"
        " WHERE ref = %(ref)s AND state NOT IN ('withdrawn', 'superseded') FOR SHARE"
        " ON CONFLICT (ref) DO UPDATE SET verified = excluded.verified, person = excluded.person,"
        " sex = excluded.sex, body_parts = excluded.body_parts, age = excluded.age,"
        " month = excluded.month, instances = excluded.instances, bytes = excluded.bytes"
        " RETURNING id",
        {
            "ref": study.ref,
            "person": ids[SUBJECT, study.subject],
            "sex": _id(ids, study.sex),
            "body_parts": _id(ids, study.body_parts),
            "age": study.age,
            "month": study.month,
            "instances": sum(one.instances for one in study.series),
            "bytes": sum(one.bytes for one in study.series),
        },
    )
    row = cursor.fetchone()
    return None if row is None else int(row[0])


def _put_series(
    cursor: Cursor, key: int, study: StudyEntry, ids: Mapping[tuple[str, str], int]
) -> None:
    project = ids[PROJECT, study.project]
    cursor.execute("DELETE FROM pacsgrid.cohort_series WHERE study = %s", (key,))
    execute_values(
        cursor,
        "INSERT INTO pacsgrid.cohort_series (study, series_uid, modality, body_part, manufacturer,"
        " thickness, instances, bytes, terms) VALUES %s",
        [
            (
                key,
                one.series_uid,
                _id(ids, one.modality),
                _id(ids, one.body_part),
                _id(ids, one.manufacturer),
                one.thickness,
                one.instances,
                one.bytes,
                sorted({project, *(ids[t.attribute, t.text] for t in one.terms)}),
            )
            for one in study.series
        ],
    )
