"""Site settings: one YAML file, validated when it is read; credentials stay outside it.

A password is named, not written: ``password_env``, ``password_file``, or the Airflow
``connection`` that holds it together with the address.
"""

from pacsgrid.config.names import SITE_ENV, SiteNames, site_names
from pacsgrid.config.secrets import read_key
from pacsgrid.config.site import Site, key_files, ledger_dsn, load_site
from pacsgrid.config.sources import source_of
from pacsgrid.config.zones import zone_of

__all__ = [
    "SITE_ENV",
    "Site",
    "SiteNames",
    "key_files",
    "ledger_dsn",
    "load_site",
    "read_key",
    "site_names",
    "source_of",
    "zone_of",
]
