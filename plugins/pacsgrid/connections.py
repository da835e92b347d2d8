"""Addresses and credentials that a site keeps as Airflow connections.

A connection is looked up when it is first used: so the site file that names it can be read
anywhere, and a task looks up only what it needs, whose secrets Airflow then masks in its logs.
"""

from __future__ import annotations

import sys
from typing import Any

from pacsgrid.errors import ConfigError

# The setting of a source or zone for each field of an Airflow connection.
_SOURCE = {"host": "host", "port": "port", "login": "user", "password": "password"}
_WEB = {"host": "url", "login": "user", "password": "password"}
_FIELDS = {"dicom": _SOURCE, "dicomweb": _WEB, "irods": _SOURCE, "datacite": _WEB}
# The settings in the connection's extra, by connection type.
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
    "datacite": ("ca_file",),
}
# The connection type for each kind of source.
KINDS = {"dimse": "dicom", "dicomweb": "dicomweb"}


def settings_of(connection: Any, expected: str) -> dict[str, Any]:
    """Return the settings that an Airflow connection holds, by the names of the site file.

    Parameters
    ----------
    connection
        Airflow's connection object.
    expected
        The type it must have: ``dicom``, ``dicomweb``, ``irods`` or ``datacite``.

    Returns
    -------
    dict of str to Any
        The settings that are not empty.

    Raises
    ------
    ConfigError
        The connection has another type, or an extra that its type does not know.
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
    """Look up an Airflow connection and return the settings that it holds.

    Parameters
    ----------
    name
        The connection's id.
    expected
        The type it must have: ``dicom``, ``dicomweb``, ``irods`` or ``datacite``.

    Returns
    -------
    dict
        Settings by the names that the site file uses.

    Raises
    ------
    ConfigError
        Airflow has no such connection, or it has another type.
    """
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return settings_of(Connection.get(name), expected)
    except AirflowNotFoundException:
        pass
    # Outside of tasks Connection.get has no supervisor to ask; a command reads Airflow's database.
    if not hasattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS"):
        from airflow.models import Connection as Stored

        try:
            return settings_of(Stored.get_connection_from_secrets(name), expected)
        except AirflowNotFoundException:
            pass
    raise ConfigError(
        f"Airflow has no connection {name}; add one of type {expected}, under Admin, Connections"
    )
