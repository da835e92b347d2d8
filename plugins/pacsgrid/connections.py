"""Addresses and credentials that a site keeps as Airflow connections.

Asked for when they are used: the file that names a connection can be read anywhere, a task asks
for the one it needs, and Airflow hides its secrets from the logs then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pacsgrid.errors import ConfigError

_T = TypeVar("_T")
# What a field of Airflow's connection is called in the settings of a source or zone.
_SOURCE = {"host": "host", "port": "port", "login": "user", "password": "password"}
_WEB = {"host": "url", "login": "user", "password": "password"}
_FIELDS = {"dicom": _SOURCE, "dicomweb": _WEB, "irods": _SOURCE}
# What each type keeps beside them, in the connection's extra.
EXTRAS = {
    "dicom": (
        "ae_title",
        "calling_ae_title",
        "retrieve",
        "move_bind",
        "move_port",
        "tls",
        "ca_file",
        "cert_file",
        "key_file",
    ),
    "dicomweb": ("token", "ca_file", "cert_file", "key_file"),
    "irods": ("ca_file",),
}
# The type of connection that a kind of source may name.
KINDS = {"dimse": "dicom", "dicomweb": "dicomweb"}


class Later(Mapping[str, _T]):
    """Settings by name; what has to be asked for first is asked for at first use, and kept."""

    def __init__(self, known: Mapping[str, _T | Callable[[], _T]]) -> None:
        self._known = dict(known)

    def __getitem__(self, name: str) -> _T:
        value = self._known[name]
        if callable(value):
            value = self._known[name] = value()
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def settings_of(connection: Any, expected: str) -> dict[str, Any]:
    """Return the settings that a connection holds; what is empty is left out.

    Parameters
    ----------
    connection
        Airflow's connection object.
    expected
        The type that it must be of: ``dicom``, ``dicomweb`` or ``irods``.

    Raises
    ------
    ConfigError
        It is of another type, or has an extra that the type does not know.
    """
    if connection.conn_type != expected:
        raise ConfigError(
            f"connection {connection.conn_id} is of type {connection.conn_type}; "
            f"this needs one of type {expected}"
        )
    given = {ours: getattr(connection, field) for field, ours in _FIELDS[expected].items()}
    extra = connection.extra_dejson
    if unknown := sorted(set(extra) - set(EXTRAS[expected])):
        raise ConfigError(
            f"connection {connection.conn_id}: no {', '.join(unknown)} in a connection of type "
            f"{expected}; it may have: {', '.join(EXTRAS[expected]) or 'no extra'}"
        )
    return {name: value for name, value in {**given, **extra}.items() if value not in (None, "")}


def look_up(name: str, expected: str) -> dict[str, Any]:
    """Return the settings in an Airflow connection; raises ConfigError when there is none."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return settings_of(Connection.get(name), expected)
    except AirflowNotFoundException:
        pass
    # A command line is neither task nor server to Airflow, yet may ask its database.
    if not hasattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS"):
        from airflow.models import Connection as Stored

        try:
            return settings_of(Stored.get_connection_from_secrets(name), expected)
        except AirflowNotFoundException:
            pass
    raise ConfigError(
        f"Airflow has no connection {name}; add one of type {expected}, under Admin, Connections"
    )
