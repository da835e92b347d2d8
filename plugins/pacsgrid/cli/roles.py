"""``pacsgrid roles``: the roles that a site needs in Airflow's FAB auth manager."""

from __future__ import annotations

import argparse
from typing import Any

from pacsgrid.errors import ConfigError

READ, EDIT, CREATE, DELETE, MENU = "can_read", "can_edit", "can_create", "can_delete", "menu_access"
# The DAGs that a steward starts, and those that a steward only sees. The latter serve all projects
# at once, so they are shown only where there is one project.
STARTS = (
    "ingest_studies",
    "review_held",
    "reprofile_studies",
    "release_cohort",
    "derive_bids",
    "return_results",
    "withdraw_patient",
)
WATCHES = ("ingest_received", "nightly_sync", "replicate_and_verify", "audit_replicas")

Permissions = set[tuple[str, str]]

_SELF: Permissions = {
    (action, resource) for action in (READ, EDIT) for resource in ("My Profile", "My Password")
}
_VIEWER: Permissions = {*_SELF, (READ, "Website"), (READ, "DAG:ingest_studies")}
_STEWARD: Permissions = {
    *_VIEWER,
    *{(action, f"DAG:{dag}") for dag in STARTS for action in (READ, EDIT)},
    (CREATE, "DAG Runs"),
    *{
        (READ, resource)
        for resource in ("DAG Runs", "DAG Versions", "Task Instances", "Task Logs", "HITL Detail")
    },
    (EDIT, "HITL Detail"),
    *{(MENU, resource) for resource in ("DAGs", "DAG Runs", "Browse", "HITL Detail")},
}
# `pacsgrid.web.access` looks for this resource; no project can have this name.
_OPERATES = (READ, "pacsgrid (operator)")
_OPERATOR: Permissions = {
    *_SELF,
    _OPERATES,
    *{
        (READ, resource)
        for resource in (
            "Website",
            "DAGs",
            "DAG Code",
            "DAG Dependencies",
            "DAG Runs",
            "DAG Versions",
            "DAG Warnings",
            "Task Instances",
            "Task Logs",
            "HITL Detail",  # without it Airflow shows no list of DAGs
            "Assets",
            "ImportError",
            "Jobs",
            "Cluster Activity",
            "Plugins",
            "Providers",
        )
    },
    *{(action, "DAG Runs") for action in (CREATE, EDIT)},
    *{(action, "Task Instances") for action in (CREATE, EDIT)},
    *{
        (action, resource)
        for resource in ("Connections", "Variables", "Pools")
        for action in (READ, CREATE, EDIT, DELETE, MENU)
    },
    (EDIT, "DAGs"),
    *{(MENU, resource) for resource in ("DAGs", "DAG Runs", "Browse", "Admin", "Assets", "Jobs")},
}


def wanted(projects: tuple[str, ...]) -> dict[str, Permissions]:
    """Return the permissions of each role, as (action, resource) of the FAB auth manager."""
    roles = {"Operator": set(_OPERATOR)}
    watched = {(READ, f"DAG:{dag}") for dag in WATCHES} if len(projects) == 1 else set()
    for project in projects:
        view = (READ, f"pacsgrid {project}")
        roles[f"Steward {project}"] = {*_STEWARD, *watched, view}
        roles[f"Viewer {project}"] = {*_VIEWER, view}
    return roles


def add_roles(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``pacsgrid roles``."""
    parser.description = (
        "Creates the roles Operator, and Steward PROJECT and Viewer PROJECT for each project, and "
        "gives them exactly the permissions they need: others are taken from them. Runs with "
        "Airflow's settings and needs its FAB auth manager. Run it again when a project was added."
    )
    parser.add_argument(
        "--show",
        action="store_true",
        help="print the permissions and change nothing (default: change them)",
    )


def run_roles(given: argparse.Namespace) -> int:
    """Create or update the roles; returns 0."""
    from pacsgrid.config import site_names

    projects = site_names().projects
    if not projects:
        raise ConfigError("no project: set PACSGRID_SITE to the site file")
    roles = wanted(projects)
    if given.show:
        for name, permissions in roles.items():
            for action, resource in sorted(permissions):
                print(f"{name}\t{action}\t{resource}")
        return 0
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        for name, permissions in roles.items():
            added, removed = _update(builder.sm, name, permissions)
            print(f"{name}: {len(permissions)} permissions, {added} added, {removed} removed")
        # Admin is Airflow's own role: permissions are added to it, none removed.
        if admin := builder.sm.find_role("Admin"):
            builder.sm.add_permission_to_role(admin, builder.sm.create_permission(*_OPERATES))
    return 0


def _update(security: Any, name: str, permissions: Permissions) -> tuple[int, int]:
    role = security.find_role(name) or security.add_role(name)
    has = {(p.action.name, p.resource.name): p for p in role.permissions}
    for extra in set(has) - permissions:
        security.remove_permission_from_role(role, has[extra])
    for action, resource in sorted(permissions - set(has)):
        permission = security.create_permission(action, resource)
        security.add_permission_to_role(role, permission)
    return len(permissions - set(has)), len(set(has) - permissions)
