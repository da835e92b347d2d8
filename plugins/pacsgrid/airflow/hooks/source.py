"""What the hooks of PACS share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pacsgrid.airflow.hooks.base import PacsgridHook

if TYPE_CHECKING:
    from pacsgrid.config import SourceSettings
    from pacsgrid.pacs import Source


class SourceHook(PacsgridHook):
    """A PACS that studies come from."""

    kind: ClassVar[str]

    def source_settings(self) -> SourceSettings:
        """Return how the PACS is reached, as a source of the site file would be."""
        from pacsgrid.config import source_from_connection

        return source_from_connection(self._conn_id, self.kind, self.settings())

    def get_conn(self) -> Source:
        """Return the PACS as a source; nothing is connected yet."""
        from pacsgrid.pacs import open_source

        return open_source(self.source_settings())

    def ask(self) -> str:
        """Ask the PACS whether it answers."""
        self.get_conn().echo()
        return self._answered(self.source_settings())

    def _answered(self, settings: SourceSettings) -> str:
        raise NotImplementedError
