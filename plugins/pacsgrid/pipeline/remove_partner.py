"""Remove a partner zone from a project."""

from __future__ import annotations

from pacsgrid import grid
from pacsgrid.errors import ConfigError
from pacsgrid.pipeline.context import ProjectContext


def remove_partner(context: ProjectContext, zone: str, erase: bool) -> int:
    """Drop what the ledger knows of a partner zone that has left a project.

    The zone must be out of the project's `partner_zones` already, else the next maintenance would
    copy everything there again. To add a zone, name it there: it gets its copies with the next
    `maintain`.

    Parameters
    ----------
    context
        The project.
    zone
        The zone's name.
    erase
        Whether to remove the project's collection in that zone.

    Returns
    -------
    int
        How many proofs were dropped.

    Raises
    ------
    ConfigError
        The zone is still in the project, or what is left would not meet the policy.
    ZoneError, ZoneUnavailableError
        The zone refused to remove the collection, or does not answer.
    """
    project = context.project
    if zone == project.home_zone or zone in project.partner_zones:
        raise ConfigError(
            f"zone {zone} is still in projects.{project.name}; take it out of partner_zones first"
        )
    owing = {d.zone for d in context.ledger.tasks.damaged(project.name, project.replication)}
    if owing:
        raise ConfigError(
            f"zone {zone} cannot be removed: {', '.join(sorted(owing))} lack proven replicas; "
            f"run `pacsgrid maintain {project.name}` first"
        )
    dropped = context.ledger.proofs.remove_zone(project.name, zone)
    context.ledger.data_sets.remove_zone(project.name, zone)
    if erase:
        grid.remove_collection(context.zone(zone), f"/{zone}/home/{project.name}")
    return dropped
