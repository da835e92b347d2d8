"""Vault entries: what identifies each study, as `Vault` sealed it."""

from __future__ import annotations

from collections.abc import Iterator

from pacsgrid.errors import PacsgridError
from pacsgrid.ledger.database import Store

_OF_PROJECT = (
    "SELECT ref, sealed FROM pacsgrid.vault JOIN pacsgrid.study USING (ref)"
    " WHERE project = %s AND length(sealed) > 0"
)


class VaultEntries(Store):
    """Sealed vault entries; they are neither sealed nor opened here."""

    def sealed(self, ref: str) -> bytes:
        """Return the study's entry, still sealed; empty when the patient withdrew.

        Raises
        ------
        PacsgridError
            The ledger has no such study.
        """
        rows = self._database.all("SELECT sealed FROM pacsgrid.vault WHERE ref = %s", (ref,))
        if not rows:
            raise PacsgridError(f"{ref}: the ledger has no such study")
        return bytes(rows[0][0])

    def replace(self, ref: str, sealed: bytes) -> None:
        """Replace the study's entry.

        Parameters
        ----------
        ref
            The study's reference.
        sealed
            What `Vault.seal` returned.
        """
        self._database.run("UPDATE pacsgrid.vault SET sealed = %s WHERE ref = %s", (sealed, ref))

    def iterate(self, project: str) -> Iterator[tuple[str, bytes]]:
        """Yield what `of_project` returns; any number of entries fits into memory."""
        for ref, sealed in self._database.stream(_OF_PROJECT, (project,)):
            yield str(ref), bytes(sealed)

    def of_project(self, project: str) -> list[tuple[str, bytes]]:
        """Return reference and sealed entry of each study of a project that is not withdrawn."""
        return list(self.iterate(project))
