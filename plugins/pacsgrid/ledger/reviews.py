"""Stewards' decisions about what is held: who decided what, what is to be carried out, and rules.

A decision is entered once and never changed. The held files that it is about are marked with its
number until it is carried out; where the project asks for a second steward, not before that one
agrees.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from psycopg2.extras import execute_values

from pacsgrid.errors import ConfigError
from pacsgrid.ledger.codes import REJECTED
from pacsgrid.ledger.connection import Cursor
from pacsgrid.ledger.database import Store
from pacsgrid.review_model import ANY_IMAGE, BlankRegion, ImageTraits, Ruling, Verdict

_AGREED = (
    "(NOT r.needs_second OR EXISTS (SELECT FROM pacsgrid.review_second a WHERE a.review = r.id"
    " AND a.agrees))"
)
_TRAITS = "manufacturer, model, modality, sop_class, description, image_rows, image_columns"
_RULING = "r.id, r.verdict, r.codes, r.regions, " + ", ".join(
    f"r.{name}" for name in _TRAITS.split(", ")
)
_DECISION = (
    f"{_RULING}, r.project, r.reason, r.who, r.profile, r.needs_second, r.always, r.at,"
    " coalesce(s.who, ''), s.agrees, coalesce(e.who, ''), e.at"
)
_JOINED = (
    " FROM pacsgrid.review r LEFT JOIN pacsgrid.review_second s ON s.review = r.id"
    " LEFT JOIN pacsgrid.review_end e ON e.review = r.id"
)


@dataclass(frozen=True)
class Decision:
    """A steward's decision.

    Attributes
    ----------
    number
        Its number; 0 for one that is not entered yet.
    project
        The project's name.
    verdict
        What was decided.
    codes
        The reasons for which the files were held, and which the verdict is about.
    reason
        Why, in the steward's words.
    who
        The steward.
    profile
        The profile to try again with; empty for the project's own.
    regions
        What is blanked.
    traits
        With `always`, the files that the rule is for.
    needs_second
        Whether a second steward must agree.
    always
        Whether this is a rule for later files, too.
    at
        When it was made.
    second, agrees
        The second steward, and whether that one agrees; None while nobody answered.
    ended_by, ended_at
        Who revoked the rule, and when.
    """

    project: str
    verdict: Verdict
    codes: frozenset[str]
    reason: str
    who: str
    profile: str = ""
    regions: tuple[BlankRegion, ...] = ()
    traits: ImageTraits = ANY_IMAGE
    needs_second: bool = False
    always: bool = False
    number: int = 0
    at: datetime | None = None
    second: str = ""
    agrees: bool | None = None
    ended_by: str = ""
    ended_at: datetime | None = None

    @property
    def in_force(self) -> bool:
        """Whether it may be carried out, and applies to later files if it is a rule."""
        return self.ended_at is None and (not self.needs_second or bool(self.agrees))


@dataclass(frozen=True)
class Selected:
    """What a decision is about: files by study and SHA-256, and groups.

    Attributes
    ----------
    files
        Study and SHA-256 of each file; an empty SHA-256 for a study that is held as a whole.
    group
        The group of which everything that waits is meant; empty for none.
    until
        The time at which the steward saw the group: what came later is not decided.
    series
        Whether the rest of the files' series is meant, as far as it waits in the same group.
    """

    files: tuple[tuple[str, str], ...] = ()
    group: str = ""
    until: datetime | None = None
    series: bool = False


@dataclass(frozen=True)
class RuleEntry:
    """A rule with the number of files that it decided, and when it did so last."""

    decision: Decision
    files: int
    last: datetime | None


class Reviews(Store):
    """Decisions about held files and studies."""

    def decide(self, decision: Decision, selected: Selected) -> tuple[int, int]:
        """Enter a decision, and take what it is about out of the queue.

        Parameters
        ----------
        decision
            What was decided.
        selected
            What it is about. Without anything only a rule is made.

        Returns
        -------
        tuple of int and int
            The decision's number, and how many files and studies it is about.

        Raises
        ------
        ConfigError
            Nothing of what is selected waits, and no rule is made.
        """
        with self._database.transaction() as cursor:
            number = self._enter(cursor, decision)
            files = _mark(cursor, number, decision, selected)
            if not files and not decision.always:
                raise ConfigError("nothing of what was chosen waits any more; load the page again")
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.review_file (review, ref, sha256) VALUES %s"
                " ON CONFLICT DO NOTHING",
                [(number, ref, sha256) for ref, sha256 in files],
            )
        return number, len(files)

    def _enter(self, cursor: Cursor, one: Decision) -> int:
        traits = one.traits
        cursor.execute(
            "INSERT INTO pacsgrid.review (project, verdict, codes, reason, who, profile, regions,"
            f" needs_second, always, {_TRAITS})"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " RETURNING id",
            (
                one.project,
                one.verdict,
                sorted(one.codes),
                one.reason,
                one.who,
                one.profile,
                json.dumps([region.as_json() for region in one.regions]),
                one.needs_second,
                one.always,
                *vars(traits).values(),
            ),
        )
        (number,) = cursor.fetchone() or (0,)
        return int(number)

    def answer(self, number: int, who: str, agrees: bool) -> bool:
        """Enter a second steward's answer; what it is about returns to the queue when it is no.

        Parameters
        ----------
        number
            The decision's number.
        who
            The second steward.
        agrees
            Whether that one agrees.

        Returns
        -------
        bool
            False if somebody has answered already.

        Raises
        ------
        ConfigError
            The steward who decided cannot be the second one, or no second one is asked for.
        """
        decision = self.get(number)
        if decision is None or not decision.needs_second:
            raise ConfigError(f"decision {number} asks for no second steward")
        if decision.who == who:
            raise ConfigError("you decided this yourself; another steward must agree")
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO pacsgrid.review_second (review, who, agrees) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (number, who, agrees),
            )
            if cursor.rowcount != 1:
                return False
            if not agrees:
                cursor.execute(
                    "UPDATE pacsgrid.held_item SET decision = NULL WHERE decision = %s", (number,)
                )
                cursor.execute(
                    "UPDATE pacsgrid.study SET held_decision = NULL WHERE held_decision = %s",
                    (number,),
                )
            return True

    def end_rule(self, number: int, who: str, reason: str) -> bool:
        """Revoke a rule: later files are held again.

        Parameters
        ----------
        number
            The rule's number.
        who
            The steward.
        reason
            Why; naming no one.

        Returns
        -------
        bool
            False if it was revoked already.
        """
        return bool(
            self._database.run(
                "INSERT INTO pacsgrid.review_end (review, who, reason)"
                " SELECT id, %s, %s FROM pacsgrid.review WHERE id = %s AND always"
                " ON CONFLICT DO NOTHING",
                (who, reason, number),
            )
        )

    def get(self, number: int) -> Decision | None:
        """Return a decision; None if there is none with this number."""
        rows = self._database.all(f"SELECT {_DECISION}{_JOINED} WHERE r.id = %s", (number,))
        return _decision(rows[0]) if rows else None

    def unanswered(self, projects: Sequence[str]) -> list[tuple[Decision, int]]:
        """Return what waits for a second steward, the oldest first, with its number of files."""
        rows = self._database.all(
            f"SELECT {_DECISION}, (SELECT count(*) FROM pacsgrid.review_file f"
            f" WHERE f.review = r.id){_JOINED} WHERE r.project = ANY(%s) AND r.needs_second"
            " AND s.review IS NULL AND e.review IS NULL ORDER BY r.id LIMIT 200",
            (list(projects),),
        )
        return [(_decision(row[:-1]), int(row[-1])) for row in rows]

    def rules(self, projects: Sequence[str]) -> list[RuleEntry]:
        """Return every rule with how often it decided, the newest first."""
        rows = self._database.all(
            f"SELECT {_DECISION}, c.number, c.last{_JOINED} LEFT JOIN LATERAL (SELECT"
            " sum(number)::bigint AS number, max(last) AS last FROM pacsgrid.counter c"
            " WHERE c.project = r.project AND c.kind = 'review_use' AND c.key = r.id::text) c"
            " ON true WHERE r.project = ANY(%s) AND r.always ORDER BY r.id DESC",
            (list(projects),),
        )
        return [RuleEntry(_decision(row[:-2]), int(row[-2] or 0), row[-1]) for row in rows]

    def rules_in_force(self, project: str) -> tuple[Ruling, ...]:
        """Return the rules for files that come to a project now, the newest first."""
        rows = self._database.all(
            f"SELECT {_RULING} FROM pacsgrid.review r WHERE r.project = %s AND r.always"
            f" AND {_AGREED} AND NOT EXISTS (SELECT FROM pacsgrid.review_end e"
            " WHERE e.review = r.id) ORDER BY r.id DESC",
            (project,),
        )
        return tuple(map(_ruling, rows))

    def version(self, project: str) -> int:
        """Return the version of a project's rules: how often one was made or revoked."""
        ((made, ended),) = self._database.all(
            "SELECT count(*), count(e.review) FROM pacsgrid.review r LEFT JOIN pacsgrid.review_end"
            " e ON e.review = r.id WHERE r.project = %s AND r.always",
            (project,),
        )
        return int(made + ended)

    def of_study(self, ref: str) -> dict[str, tuple[Ruling, ...]]:
        """Return what is decided about single files of a study, by their SHA-256.

        A rule that was revoked still holds for these. What was rejected is not among it: that stays
        in the queue, as rejected.
        """
        rows = self._database.all(
            f"SELECT f.sha256, {_RULING} FROM pacsgrid.review_file f"
            " JOIN pacsgrid.review r ON r.id = f.review WHERE f.ref = %s AND f.sha256 <> ''"
            f" AND r.verdict IN ('approve', 'blank') AND {_AGREED} ORDER BY r.id DESC",
            (ref,),
        )
        found: dict[str, tuple[Ruling, ...]] = {}
        for sha256, *row in rows:
            # About this very file, so whatever its traits.
            one = replace(_ruling(row), traits=ImageTraits())
            found[sha256] = (*found.get(sha256, ()), one)
        return found

    def add_uses(self, ref: str, uses: Iterable[tuple[int, str]]) -> None:
        """Enter on which files of a study decisions took effect; repeating it changes nothing.

        Parameters
        ----------
        ref
            The study's reference.
        uses
            The decision's number, and the file's SHA-256.
        """
        rows = [(number, ref, sha256) for number, sha256 in sorted(set(uses))]
        if rows:
            with self._database.transaction() as cursor:
                execute_values(
                    cursor,
                    "INSERT INTO pacsgrid.review_use (review, ref, sha256) VALUES %s"
                    " ON CONFLICT DO NOTHING",
                    rows,
                )

    def described(self, numbers: Collection[int]) -> list[Decision]:
        """Return some decisions by number, for a study's report."""
        rows = self._database.all(
            f"SELECT {_DECISION}{_JOINED} WHERE r.id = ANY(%s) ORDER BY r.id", (sorted(numbers),)
        )
        return list(map(_decision, rows))

    def to_carry_out(self, project: str) -> list[str]:
        """Return the studies of which something is decided and not carried out yet."""
        rows = self._database.all(
            "SELECT ref FROM (SELECT i.ref, i.decision FROM pacsgrid.held_item i"
            " WHERE i.project = %(project)s AND i.decision IS NOT NULL UNION"
            " SELECT ref, held_decision FROM pacsgrid.study WHERE project = %(project)s"
            " AND held_decision IS NOT NULL) d JOIN pacsgrid.review r ON r.id = d.decision"
            f" WHERE {_AGREED} GROUP BY ref ORDER BY min(r.id), ref",
            {"project": project},
        )
        return [ref for (ref,) in rows]

    def unfinished(self, project: str) -> list[tuple[str, str]]:
        """Return the studies that start again by a decision and are not through yet.

        Returns
        -------
        list of tuple of str and str
            Reference and profile of each study that no run has claimed; an empty profile is the
            project's own.
        """
        return self._database.all(
            "SELECT DISTINCT ON (w.ref) w.ref, r.profile FROM pacsgrid.work w"
            " JOIN pacsgrid.review_file f USING (ref) JOIN pacsgrid.review r ON r.id = f.review"
            f" WHERE w.project = %s AND w.run IS NULL AND r.verdict <> 'reject' AND {_AGREED}"
            " ORDER BY w.ref, r.id DESC",
            (project,),
        )

    def decided(self, ref: str) -> dict[str, Decision]:
        """Return what is to be carried out of a study, by SHA-256; empty for the whole study."""
        rows = self._database.all(
            f"SELECT d.sha256, {_DECISION} FROM (SELECT sha256, decision FROM pacsgrid.held_item"
            " WHERE ref = %(ref)s AND decision IS NOT NULL UNION SELECT '', held_decision"
            " FROM pacsgrid.study WHERE ref = %(ref)s AND held_decision IS NOT NULL) d"
            + _JOINED.replace("FROM pacsgrid.review r", "JOIN pacsgrid.review r ON r.id = decision")
            + " WHERE NOT r.needs_second OR s.agrees ORDER BY r.id",
            {"ref": ref},
        )
        return {sha256: _decision(row) for sha256, *row in rows}

    def carry_out(self, ref: str, decided: dict[str, Decision]) -> int:
        """Take decided files of a study out of what is held, and mark the rejected ones.

        Call it in one transaction with the study's change of state.

        Parameters
        ----------
        ref
            The study's reference.
        decided
            What `decided` returned.

        Returns
        -------
        int
            How many of its held files still wait for a steward.
        """
        rejected = [sha for sha, one in decided.items() if sha and one.verdict == "reject"]
        for sha256 in rejected:
            number = decided[sha256].number
            self._database.run(
                "INSERT INTO pacsgrid.held_item (ref, code, detail, sha256) VALUES"
                " (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (ref, REJECTED, f"rejected by decision {number}; it is not taken again", sha256),
            )
        self._database.run(
            "DELETE FROM pacsgrid.held_item WHERE ref = %s AND sha256 = ANY(%s) AND code <> %s",
            (ref, [sha for sha in decided if sha], REJECTED),
        )
        ((left,),) = self._database.all(
            "SELECT count(*) FROM pacsgrid.held_item WHERE ref = %s AND code <> %s",
            (ref, REJECTED),
        )
        return int(left)


def _mark(
    cursor: Cursor, number: int, decision: Decision, selected: Selected
) -> list[tuple[str, str]]:
    """Mark what is selected and waits as decided; return study and SHA-256 of each."""
    values = {
        "number": number,
        "project": decision.project,
        "group": selected.group,
        "until": selected.until,
        "refs": [ref for ref, _ in selected.files],
        "shas": [sha for _, sha in selected.files],
        "codes": sorted(decision.codes),
    }
    chosen = "i.alike = %(group)s AND i.since <= coalesce(%(until)s, now())"
    if not selected.group:
        chosen = "(i.ref, i.sha256) IN (SELECT * FROM unnest(%(refs)s::text[], %(shas)s::text[]))"
        if selected.series:
            chosen = (
                f"({chosen} OR (i.ref, i.series, i.alike) IN (SELECT c.ref, c.series, c.alike"
                " FROM pacsgrid.held_item c WHERE c.series <> '' AND (c.ref, c.sha256) IN"
                " (SELECT * FROM unnest(%(refs)s::text[], %(shas)s::text[]))))"
            )
    cursor.execute(
        "UPDATE pacsgrid.held_item i SET decision = %(number)s WHERE i.project = %(project)s"
        f" AND i.decision IS NULL AND i.code = ANY(%(codes)s) AND {chosen}"
        " RETURNING i.ref, i.sha256",
        values,
    )
    files = [(str(ref), str(sha256)) for ref, sha256 in cursor.fetchall()]
    chosen = "s.held_alike = %(group)s AND s.changed_at <= coalesce(%(until)s, now())"
    if not selected.group:
        chosen = (
            "s.held_alike <> '-' AND s.ref IN (SELECT ref FROM unnest(%(refs)s::text[],"
            " %(shas)s::text[]) AS c (ref, sha256) WHERE sha256 = '')"
        )
    cursor.execute(
        "UPDATE pacsgrid.study s SET held_decision = %(number)s WHERE s.project = %(project)s"
        " AND s.state = 'held' AND s.held_decision IS NULL AND s.held_code = ANY(%(codes)s)"
        f" AND {chosen} RETURNING s.ref",
        values,
    )
    return sorted({*files, *((str(ref), "") for (ref,) in cursor.fetchall())})


def _ruling(row: Sequence[Any]) -> Ruling:
    number, verdict, codes, regions, *traits = row
    drawn = tuple(BlankRegion.from_json(region) for region in regions)
    return Ruling(number, cast(Verdict, verdict), frozenset(codes), ImageTraits(*traits), drawn)


def _decision(row: Sequence[Any]) -> Decision:
    ruling = _ruling(row[:11])
    project, reason, who, profile, needs_second, always, at, second, agrees, ended, ended_at = row[
        11:
    ]
    return Decision(
        project,
        ruling.verdict,
        ruling.codes,
        reason,
        who,
        profile,
        ruling.regions,
        ruling.traits,
        needs_second,
        always,
        ruling.number,
        at,
        second,
        agrees,
        ended,
        ended_at,
    )
