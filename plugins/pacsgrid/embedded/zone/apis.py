"""Imports every module that registers API handlers."""

from __future__ import annotations

import importlib


def load() -> None:
    """Register all handlers."""
    for name in (
        "api_auth",
        "api_coll",
        "api_data",
        "api_bulk",
        "api_replica",
        "api_admin",
        "api_meta",
        "api_query",
        "api_ticket",
        "api_register",
        "api_bundle",
    ):
        importlib.import_module(f"{__package__}.{name}")
