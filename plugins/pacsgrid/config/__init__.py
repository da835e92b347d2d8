"""Site settings: one YAML file, checked when it is read.

Each part of the file is a frozen pydantic model. A ``...Section`` holds what the file says, the
``...Settings`` derived from it add what is looked up: secrets, and Airflow connections. Secrets
never stand in the file, which names them: ``password_env``, ``password_file``, or the Airflow
``connection`` that holds the password together with the address.
"""

from pacsgrid.config.audit import AuditSettings
from pacsgrid.config.gateway import Destination, GatewaySettings, Peer, Served, Token
from pacsgrid.config.login import LoginGroup, LoginSettings, Role
from pacsgrid.config.names import SITE_ENV, SiteNames, site_names
from pacsgrid.config.projects import ProjectSettings, ReplicationPolicy
from pacsgrid.config.receiver import ReceiverSettings
from pacsgrid.config.secrets import read_key
from pacsgrid.config.series import (
    ContentChecks,
    ExpectedSeries,
    SeriesRule,
    SeriesSelection,
    parse_selection,
)
from pacsgrid.config.site import Site, audit_years, key_files, ledger_dsn, load_login, load_site
from pacsgrid.config.sources import SourceSettings, source_from_connection
from pacsgrid.config.zones import ZoneSettings, zone_from_connection

__all__ = [
    "SITE_ENV",
    "AuditSettings",
    "ContentChecks",
    "Destination",
    "ExpectedSeries",
    "GatewaySettings",
    "LoginGroup",
    "LoginSettings",
    "Peer",
    "ProjectSettings",
    "ReceiverSettings",
    "ReplicationPolicy",
    "Role",
    "SeriesRule",
    "SeriesSelection",
    "Served",
    "Site",
    "SiteNames",
    "SourceSettings",
    "Token",
    "ZoneSettings",
    "audit_years",
    "key_files",
    "ledger_dsn",
    "load_login",
    "load_site",
    "parse_selection",
    "read_key",
    "site_names",
    "source_from_connection",
    "zone_from_connection",
]
