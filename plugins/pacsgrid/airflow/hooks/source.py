"""The base of the hooks for PACS."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pacsgrid.airflow.hooks.base import PacsgridHook

if TYPE_CHECKING:
    from pacsgrid.config import SourceSettings
    from pacsgrid.pacs import Source


class SourceHook(PacsgridHook):
    """A hook for a PACS that studies come from."""

    kind: ClassVar[str]

    def source_settings(self) -> SourceSettings:
        """Return the connection's settings, as those of a source in the site file."""
        from pacsgrid.config import source_from_connection

        return source_from_connection(self._conn_id, self.kind, self.settings())

    def get_conn(self) -> Source:
        """Return the PACS as a source, which connects at first use."""
        from pacsgrid.pacs import open_source

        return open_source(self.source_settings())

    def check(self) -> str:
        """Send C-ECHO, or a small QIDO-RS query."""
        self.get_conn().echo()
        return self._describe(self.source_settings())

    def _describe(self, settings: SourceSettings) -> str:
        """Return what the Test button says when the PACS answers."""
        raise NotImplementedError
