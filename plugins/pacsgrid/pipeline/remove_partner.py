"""Leave: a partner zone out of a project."""

from __future__ import annotations

from pacsgrid import grid
from pacsgrid.errors import ConfigError
from pacsgrid.pipeline.context import ProjectContext


def remove_partner(context: ProjectContext, zone: str, erase: bool) -> int:
    """Let a zone leave a project; returns how many proofs were dropped.

    The zone must be out of the project's `partner_zones` already, else the planner would copy
    everything there again. A zone joins the other way: named there, it gets its copies with the
    next `tend`, as many as a night allows, resumable.

    Parameters
    ----------
    erase
        Whether the project's collection in that zone is removed.

    Raises
    ------
    ConfigError
        The zone is still in the project, or what is left would not meet the policy.
    """
    project = context.project
    if zone == project.home_zone or zone in project.partner_zones:
        raise ConfigError(
            f"zone {zone} is still in projects.{project.name}; take it out of partner_zones first"
        )
    owing = {
        d.zone for d in context.ledger.tasks.all(project.name, project.replication) if d.damaged
    }
    if owing:
        raise ConfigError(
            f"zone {zone} cannot leave: {', '.join(sorted(owing))} lack proven replicas; "
            f"run `pacsgrid keep {project.name}` first"
        )
    dropped = context.ledger.proofs.remove_zone(project.name, zone)
    if erase:
        grid.remove_collection(context.zone(zone), f"/{zone}/home/{project.name}")
    return dropped
