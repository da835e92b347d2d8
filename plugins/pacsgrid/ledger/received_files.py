"""Received files: which instance each became, so that the receiver need not keep them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from psycopg2.extras import execute_values

from pacsgrid.ledger.database import Store


class ReceivedFiles(Store):
    """Files that a C-STORE receiver took in, by SHA-256."""

    def add(self, ref: str, files: Mapping[str, str]) -> None:
        """Enter which instance came of which file; repeating it changes nothing.

        Parameters
        ----------
        ref
            The study's reference.
        files
            SHA-256 of each file, in hex, to the pseudonymous SOP instance UID that came of it.
        """
        if not files:
            return
        with self._database.transaction() as cursor:
            execute_values(
                cursor,
                "INSERT INTO pacsgrid.received (ref, sha256, sop_uid) VALUES %s"
                " ON CONFLICT DO NOTHING",
                [(ref, sha256, sop_uid) for sha256, sop_uid in files.items()],
            )

    def set_kept(self, ref: str, sop_uids: Collection[str]) -> None:
        """Enter that the site keeps the originals of some instances.

        Parameters
        ----------
        ref
            The study's reference.
        sop_uids
            Pseudonymous SOP Instance UIDs.
        """
        self._database.run(
            "UPDATE pacsgrid.received SET kept = true"
            " WHERE ref = %s AND sop_uid = ANY(%s) AND NOT kept",
            (ref, list(sop_uids)),
        )

    def of_study(self, ref: str) -> dict[str, str]:
        """Return SHA-256 to SOP instance UID of the study's received files."""
        return dict(
            self._database.all(
                "SELECT sha256, sop_uid FROM pacsgrid.received WHERE ref = %s", (ref,)
            )
        )
