"""The audit trail: changes of state, who saw what identifies a study, and stewards' decisions.

PostgreSQL refuses to change or delete any of it.
"""

from __future__ import annotations

from collections.abc import Collection

from pacsgrid.ledger.database import Store
from pacsgrid.ledger.records import AccessRecord, DecisionRecord, StateChange


class AuditTrail(Store):
    """What happened to a study; changes of state are entered by a trigger."""

    def changes(self, ref: str) -> list[StateChange]:
        """Return a study's changes of state, the oldest first."""
        return [
            StateChange(*row)
            for row in self._database.all(
                "SELECT ref, coalesce(was, ''), became, actor, reason, at FROM pacsgrid.audit"
                " WHERE ref = %s ORDER BY id",
                (ref,),
            )
        ]

    def accesses(self, ref: str) -> list[AccessRecord]:
        """Return who looked at what identifies a study, the oldest first."""
        rows = self._database.all(
            "SELECT who, what, at FROM pacsgrid.access WHERE ref = %s ORDER BY id", (ref,)
        )
        return [AccessRecord(*row) for row in rows]

    def decisions(self, ref: str) -> list[DecisionRecord]:
        """Return what stewards decided about a study, the oldest first."""
        rows = self._database.all(
            "SELECT verdict, who, reason, profile, at FROM pacsgrid.decision"
            " WHERE ref = %s ORDER BY id",
            (ref,),
        )
        return [DecisionRecord(*row) for row in rows]

    def decided_codes(self, ref: str, verdict: str) -> set[str]:
        """Return why a study was held when stewards gave a verdict about it.

        Parameters
        ----------
        ref
            The study's reference.
        verdict
            The verdict.
        """
        rows = self._database.all(
            "SELECT DISTINCT unnest(codes) FROM pacsgrid.decision WHERE ref = %s AND verdict = %s",
            (ref, verdict),
        )
        return {code for (code,) in rows}

    def add_access(self, who: str, ref: str, what: str, reason: str = "") -> None:
        """Enter that somebody is about to see what identifies a study.

        Call it first, and show nothing when it fails.

        Parameters
        ----------
        who
            The user's name.
        ref
            The study's reference.
        what
            What is shown.
        reason
            Why, where one is asked for.

        Raises
        ------
        RetryableError
            The database does not answer.
        """
        self._database.run(
            "INSERT INTO pacsgrid.access (who, ref, what, reason) VALUES (%s, %s, %s, %s)",
            (who, ref, what, reason),
        )

    def add_lookup(self, project: str, kind: str, number: int, who: str, reason: str) -> None:
        """Enter that somebody asks for pseudonyms; call it before anything is looked up.

        Parameters
        ----------
        project
            The project's name.
        kind
            What is given: ``patient``, ``accession`` or ``study``.
        number
            How many identifiers are given.
        who
            The user's name.
        reason
            Why.

        Raises
        ------
        RetryableError
            The database does not answer.
        """
        self._database.run(
            "INSERT INTO pacsgrid.lookup (project, kind, number, who, reason)"
            " VALUES (%s, %s, %s, %s, %s)",
            (project, kind, number, who, reason),
        )

    def add_decision(
        self,
        ref: str,
        verdict: str,
        who: str,
        reason: str,
        profile: str = "",
        codes: Collection[str] = (),
    ) -> None:
        """Enter a steward's decision; call it before the decision is carried out.

        Parameters
        ----------
        ref
            The study's reference.
        verdict
            What was decided.
        who
            The steward's name.
        reason
            What the steward gave as the reason.
        profile
            The de-identification profile that the study is sent on with.
        codes
            Why the study or its files were held.

        Raises
        ------
        RetryableError
            The database does not answer.
        """
        self._database.run(
            "INSERT INTO pacsgrid.decision (ref, verdict, who, reason, profile, codes)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (ref, verdict, who, reason, profile, sorted(codes)),
        )

    def count_decisions(self, project: str) -> dict[str, dict[str, int]]:
        """Return how many studies of a project stewards decided about.

        Parameters
        ----------
        project
            The project's name.

        Returns
        -------
        dict
            By the code of what was held, then by verdict. Decisions made before codes were
            recorded count under an empty code.
        """
        rows = self._database.all(
            "SELECT code, verdict, count(DISTINCT d.ref) FROM pacsgrid.decision d"
            " JOIN pacsgrid.study s USING (ref)"
            " CROSS JOIN LATERAL unnest(coalesce(nullif(d.codes, '{}'), '{\"\"}')) AS code"
            " WHERE s.project = %s GROUP BY 1, 2 ORDER BY 1, 2",
            (project,),
        )
        counts: dict[str, dict[str, int]] = {}
        for code, verdict, count in rows:
            counts.setdefault(code, {})[verdict] = int(count)
        return counts
