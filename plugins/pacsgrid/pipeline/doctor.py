"""Doctor: do the invariants hold, over ledger, rooms and zones? It changes nothing.

What it looks at: every state is in the audit trail; what is verified has the proofs that the
policy asks for; nothing is left in a room that should be empty; the zones hold what the ledger
lists and nothing else, under names that identify no one; every standing release can be fetched.
Bytes are not read again: that is `keep`'s work, whose proofs are looked at here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from irods.column import Like
from irods.models import Collection, CollectionMeta, DataObject

from pacsgrid import grid
from pacsgrid.errors import PacsgridError
from pacsgrid.model import StudyState
from pacsgrid.pacs.query_check import QUERY_KEYS
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.release import release_collection
from pacsgrid.pipeline.release_documents import MANIFEST
from pacsgrid.pipeline.report import project_report

# A shorter identifier occurs by chance inside a number or a name.
_TELLING = 5
_DEPOSITED = frozenset({StudyState.DEPOSITED, StudyState.REPLICATED, StudyState.VERIFIED})
# Of these states the rooms hold nothing; what waits or is on its way may be there.
_EMPTY = (StudyState.WITHDRAWN,)


@dataclass(frozen=True)
class Fault:
    """One broken rule; `where` is a study's reference, a zone's path or a zone, `what` the rest."""

    rule: str
    where: str
    what: str


def find_faults(context: ProjectContext) -> list[Fault]:
    """Return every fault of a project. Raises RetryableError when the ledger does not answer."""
    found = [Fault(rule, ref, what) for rule, ref, what in _ledger(context)]
    found += _proofs(context)
    found += _rooms(context)
    identities = _identities(context)
    for zone in (context.home, *context.partners):
        try:
            found += _zone(context, zone, identities)
        except PacsgridError as error:
            found.append(Fault("the zone cannot be examined", zone.settings.name, str(error)))
    found += _releases(context)
    return found


def _ledger(context: ProjectContext) -> list[tuple[str, str, str]]:
    return context.ledger.consistency.violations(context.project.name)


def _proofs(context: ProjectContext) -> Iterator[Fault]:
    for name, zone in project_report(context).zones.items():
        if zone.late:
            yield Fault("replicas are missing for too long", name, f"{zone.late} instances")
        if zone.bad:
            yield Fault("replicas are bad", name, f"{zone.bad} replicas")
        if zone.overdue:
            yield Fault("proofs are older than allowed", name, f"{zone.overdue} studies")


def _rooms(context: ProjectContext) -> Iterator[Fault]:
    everything = {study.ref: study.state for study in context.ledger.studies.find()}
    for name in ("staging", "outbox", "quarantine"):
        room: Path = getattr(context.site, name)
        if room.stat().st_mode & 0o077:
            yield Fault("a room can be entered by others", name, f"chmod 700 {room}")
        for there in room.iterdir():
            if there.name.startswith("."):
                continue
            if there.name not in everything:
                yield Fault(
                    "a room holds a study that the ledger does not know", name, "look at it"
                )
            elif everything[there.name] in _EMPTY:
                yield Fault("a withdrawn study is left in a room", there.name, name)


def _identities(context: ProjectContext) -> set[str]:
    values: set[str] = set()
    for ref, sealed in context.ledger.vault.of_project(context.project.name):
        opened = context.vault.open(ref, sealed)
        values.update(
            value
            for key, value in opened.items()
            if key not in QUERY_KEYS | {"source"} and len(value) >= _TELLING
        )
    return values


def _zone(context: ProjectContext, zone: grid.Zone, identities: set[str]) -> Iterator[Fault]:
    name, project = zone.settings.name, context.project.name
    root = f"/{name}/home/{project}/data"
    wanted: dict[str, str] = {}
    allowed: set[str] = set()
    documents: set[str] = set()
    for study in context.ledger.studies.find(project):
        rows = context.ledger.instances.of_study(study.ref)
        paths = {grid.object_path(name, project, row): study.ref for row in rows}
        if study.state is not StudyState.WITHDRAWN:
            allowed |= set(paths)
            documents |= {str(Path(path).parents[1]) for path in paths}
        at_home = zone is context.home and study.state in _DEPOSITED
        if at_home or study.state is StudyState.VERIFIED:
            wanted |= paths
    found = set(_objects(zone, root))
    lacking: dict[str, int] = {}
    for path in set(wanted) - found:
        lacking[wanted[path]] = lacking.get(wanted[path], 0) + 1
    for ref, count in sorted(lacking.items()):
        yield Fault("objects that the ledger lists are not in the zone", ref, f"{count} in {name}")
    for path in sorted(found - allowed):
        if str(Path(path).parent) not in documents:
            yield Fault("an object that the ledger does not list is in the zone", path, name)
    words = {part for path in found for part in path.split("/")} | _values(zone, root)
    if identities & words:
        count = len(identities & words)
        yield Fault("a name or AVU in the zone identifies someone", name, f"{count} values")


def _objects(zone: grid.Zone, root: str) -> Iterator[str]:
    columns = (Collection.name, DataObject.name)
    for row in zone.rows(columns, Like(Collection.name, f"{root}/%")):
        yield f"{row[Collection.name]}/{row[DataObject.name]}"


def _values(zone: grid.Zone, root: str) -> set[str]:
    rows = zone.rows((CollectionMeta.value,), Like(Collection.name, f"{root}/%"))
    return {str(row[CollectionMeta.value]) for row in rows}


def _releases(context: ProjectContext) -> Iterator[Fault]:
    project = context.project.name
    for row in context.ledger.releases.versions(project):
        if row.retired_at is not None:
            continue
        where = f"{row.name} v{row.version}"
        place = release_collection(context.home, project, row.name, row.version)
        if f"{place}/{MANIFEST}" not in set(_objects(context.home, place.rsplit("/", 1)[0])):
            yield Fault("a release has lost its manifest", where, place)
        for ref in context.ledger.releases.study_refs(project, row.name, row.version):
            if (state := context.ledger.studies.state(ref)) is not StudyState.VERIFIED:
                yield Fault(
                    "a release lists a study that is not verified", where, f"{ref}: {state}"
                )
