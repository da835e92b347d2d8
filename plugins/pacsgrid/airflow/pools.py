"""Pools: how many tasks may use a source or a zone at once.

A DAG's task names the general pool `SOURCES` or `ZONES`. Which source or zone it uses is known from
the run's parameters and the site file only, so the cluster policy (`policy`) puts the task into the
pool of that one. A DAG that knows source or project when it is parsed names the pool itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SOURCES, ZONES = "pacsgrid_sources", "pacsgrid_zones"
ZONE_SLOTS = 8


def source_pool(source: str) -> str:
    """Return the name of a source's pool."""
    return f"pacsgrid_source_{source}"


def zone_pool(project: str) -> str:
    """Return the name of the pool of a project's home zone."""
    from pacsgrid.config import site_names

    home = site_names().homes.get(project)
    return f"pacsgrid_zone_{home}" if home else ZONES


def pool_of(pool: str, params: Mapping[str, Any]) -> str:
    """Return the pool that a task runs in.

    Parameters
    ----------
    pool
        The pool that the DAG names for the task.
    params
        The parameters of the task's run.
    """
    if pool == SOURCES and params.get("source"):
        return source_pool(str(params["source"]))
    if pool == ZONES and params.get("project"):
        return zone_pool(str(params["project"]))
    return pool


def slots(pool: str) -> int:
    """Return how many slots a pool of pacsgrid gets when it is created."""
    from pacsgrid.config import site_names

    for source, associations in site_names().max_associations.items():
        if pool == source_pool(source):
            return associations
    return ZONE_SLOTS
