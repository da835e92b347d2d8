"""The base of the hooks: settings from a connection, and its Test button."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.sdk import BaseHook

from pacsgrid.connections import settings_of
from pacsgrid.errors import PacsgridError


class PacsgridHook(BaseHook):
    """A hook whose Test button sends the other side a small request.

    Parameters
    ----------
    conn_id
        Id of the Airflow connection.
    """

    conn_type: ClassVar[str]

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self._conn_id = conn_id

    def settings(self) -> dict[str, Any]:
        """Return the connection's settings; raises ConfigError when it has another type."""
        return settings_of(self.get_connection(self._conn_id), self.conn_type)

    def check(self) -> str:
        """Send a small request, and return what was answered.

        Raises
        ------
        PacsgridError
            The other side does not answer, or refuses.
        """
        raise NotImplementedError

    def test_connection(self) -> tuple[bool, str]:
        """Return whether the other side answers, and a message for the user."""
        try:
            return True, self.check()
        except PacsgridError as error:
            return False, str(error)
        except Exception as error:
            # The text of another library's error may hold what must not be shown.
            return False, f"unexpected {type(error).__name__}; check the connection's fields"
