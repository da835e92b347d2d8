"""What the hooks share: the Test button's answer, and settings from a connection."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.sdk import BaseHook

from pacsgrid.connections import settings_of
from pacsgrid.errors import PacsgridError


class PacsgridHook(BaseHook):
    """A hook whose connection's Test button asks the other side something small."""

    conn_type: ClassVar[str]

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self._conn_id = conn_id

    def settings(self) -> dict[str, Any]:
        """Return what the connection holds; raises ConfigError when it is of another type."""
        return settings_of(self.get_connection(self._conn_id), self.conn_type)

    def ask(self) -> str:
        """Ask the other side, and tell what was seen; raises PacsgridError when it does not."""
        raise NotImplementedError

    def test_connection(self) -> tuple[bool, str]:
        """Return whether the other side answers, and what is wrong when it does not."""
        try:
            return True, self.ask()
        except PacsgridError as error:
            return False, str(error)
        except Exception as error:
            # A foreign error's text may hold what must not be shown.
            return False, f"unexpected {type(error).__name__}; look at the connection's fields"
