"""The description of pacsgrid as an Airflow provider: modules, connection types, their forms.

Airflow reads it in every process, so it imports nothing.
"""

from __future__ import annotations

from typing import Any

_NAME = "pacsgrid"
_TEXT, _NUMBER = {"type": ["string", "null"]}, {"type": ["integer", "null"]}
_TLS = {
    "ca_file": {
        "label": "CA file",
        "schema": _TEXT,
        "description": "Path, on the workers, of the certificates that are trusted.",
    },
    "cert_file": {
        "label": "Certificate file",
        "schema": _TEXT,
        "description": "Path of our certificate, where the other side asks for one.",
    },
    "key_file": {"label": "Key file", "schema": _TEXT, "description": "Path of its key."},
}
_DICOM = {
    "ae_title": {
        "label": "AE title",
        "schema": {"type": ["string", "null"], "maxLength": 16},
        "description": "The PACS's application entity title.",
    },
    "calling_ae_title": {
        "label": "Our AE title",
        "schema": {"type": ["string", "null"], "maxLength": 16, "default": "PACSGRID"},
        "description": "The title we call with, as the PACS knows us.",
    },
    "retrieve": {
        "label": "Retrieve with",
        "schema": {"type": ["string", "null"], "enum": ["get", "move"], "default": "get"},
        "description": "C-GET, or C-MOVE to the port below.",
    },
    "move_bind": {
        "label": "C-MOVE address",
        "schema": _TEXT,
        "description": "Address on which C-MOVE's instances are received.",
    },
    "move_port": {"label": "C-MOVE port", "schema": _NUMBER},
    "tls": {"label": "TLS", "schema": {"type": ["boolean", "null"], "default": False}},
    **_TLS,
}
_DICOMWEB = {
    "token": {
        "label": "Bearer token",
        "schema": {"type": ["string", "null"], "format": "password"},
        "description": "Instead of user and password.",
    },
    **_TLS,
}


def _module(kind: str, *names: str) -> dict[str, Any]:
    modules = [f"pacsgrid.airflow.{kind}.{name}" for name in names]
    return {"integration-name": _NAME, "python-modules": modules}


def get_provider_info() -> dict[str, Any]:
    """Return the description, as Airflow's `provider_info.schema.json` defines it."""
    return {
        "package-name": _NAME,
        "name": _NAME,
        "description": "Medical images from PACS into a federated iRODS grid.",
        "integrations": [{"integration-name": _NAME, "tags": ["protocol"]}],
        "hooks": [_module("hooks", "datacite", "dicom", "dicomweb", "irods")],
        "operators": [_module("operators", "logs", "project", "source", "waves")],
        "sensors": [_module("sensors", "held", "night", "studies", "zone")],
        "triggers": [_module("triggers", "held", "night", "studies", "zone")],
        "connection-types": [
            {
                "connection-type": "datacite",
                "hook-class-name": "pacsgrid.airflow.hooks.datacite.DataCiteHook",
                "hook-name": "DataCite",
                "conn-fields": {"ca_file": _TLS["ca_file"]},
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port", "extra"],
                    "relabeling": {"host": "Service root", "login": "Repository account"},
                    "placeholders": {"host": "https://api.datacite.org"},
                },
            },
            {
                "connection-type": "dicom",
                "hook-class-name": "pacsgrid.airflow.hooks.dicom.DicomHook",
                "hook-name": "DICOM",
                "conn-fields": _DICOM,
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "password", "extra"],
                    "relabeling": {"host": "PACS host"},
                    "placeholders": {"port": "104", "ae_title": "ARCHIVE"},
                },
            },
            {
                "connection-type": "dicomweb",
                "hook-class-name": "pacsgrid.airflow.hooks.dicomweb.DicomWebHook",
                "hook-name": "DICOMweb",
                "conn-fields": _DICOMWEB,
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port", "extra"],
                    "relabeling": {"host": "Service root", "login": "User"},
                    "placeholders": {"host": "https://pacs.example/dicom-web"},
                },
            },
            {
                "connection-type": "irods",
                "hook-class-name": "pacsgrid.airflow.hooks.irods.IrodsHook",
                "hook-name": "iRODS zone",
                "conn-fields": {"ca_file": _TLS["ca_file"]},
                "ui-field-behaviour": {
                    "hidden-fields": ["extra"],
                    "relabeling": {"schema": "Zone", "login": "User"},
                    "placeholders": {"port": "1247", "schema": "tempZone"},
                },
            },
        ],
    }
