"""De-identification reports: what was done to a study, as tags and counts."""

from __future__ import annotations

import hashlib

from pacsgrid.ledger.database import Store


class DeidReports(Store):
    """One report per study: the newest, and the one before it was reopened."""

    def set(self, ref: str, report: bytes) -> None:
        """Enter a study's report in place of an earlier one.

        Parameters
        ----------
        ref
            The study's reference.
        report
            JSON in UTF-8, without identifying values.
        """
        self._database.run(
            "INSERT INTO pacsgrid.deid_report (ref, sha256, body) VALUES (%s, %s, %s)"
            " ON CONFLICT (ref) DO UPDATE SET sha256 = excluded.sha256,"
            " body = excluded.body, made_at = now()",
            (ref, hashlib.sha256(report).hexdigest(), report.decode()),
        )

    def get(self, ref: str) -> tuple[bytes, str] | None:
        """Return the study's report and its SHA-256 in hex; None when it has none."""
        rows = self._database.all(
            "SELECT body, sha256 FROM pacsgrid.deid_report WHERE ref = %s", (ref,)
        )
        return (rows[0][0].encode(), rows[0][1]) if rows else None

    def before_reopening(self, ref: str) -> bytes:
        """Return the report as it was when the study was last reopened; empty if it never was."""
        rows = self._database.all("SELECT settled FROM pacsgrid.deid_report WHERE ref = %s", (ref,))
        return (rows[0][0] or "").encode() if rows else b""
