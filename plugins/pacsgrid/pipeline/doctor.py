"""Doctor: check the invariants over ledger, work folders and zones, without changing anything.

It checks that every state is in the audit trail; that verified studies have the proofs that the
policy asks for; that no work folder holds what it must not; that the zones hold what the ledger
lists and nothing else, under names that identify no one; and that every current release can be
fetched. Bytes are not read again: `maintain` does that, and its proofs are looked at here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from irods.column import Like
from irods.models import Collection, CollectionMeta, DataObject

from pacsgrid import grid
from pacsgrid.errors import PacsgridError
from pacsgrid.model import StudyState
from pacsgrid.pacs.query_check import QUERY_KEYS
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.release import release_collection
from pacsgrid.pipeline.release_layout import MANIFEST
from pacsgrid.pipeline.report import project_report

# Characters of the shortest identifier looked for; shorter ones occur by chance in other values.
_SHORTEST = 5
_DEPOSITED = frozenset({StudyState.DEPOSITED, StudyState.REPLICATED, StudyState.VERIFIED})


@dataclass(frozen=True)
class Fault:
    """A broken rule.

    Attributes
    ----------
    rule
        What is wrong.
    where
        A study's reference, a path in a zone, or a zone.
    what
        Details.
    """

    rule: str
    where: str
    what: str


def find_faults(context: ProjectContext) -> list[Fault]:
    """Return every fault of a project; raise RetryableError when the ledger does not answer."""
    found = [Fault(rule, ref, what) for rule, ref, what in _ledger(context)]
    found += _proofs(context)
    found += _data_sets(context)
    found += _work_folders(context)
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


def _data_sets(context: ProjectContext) -> Iterator[Fault]:
    """Compare the copies of derived data sets with the project's policy."""
    project, policy = context.project, context.project.replication
    zones = (project.home_zone, *project.partner_zones)
    owed = datetime.now(UTC) - timedelta(hours=policy.within_hours)
    late = context.ledger.data_sets.due(
        project.name, zones, owed - timedelta(days=policy.reverify_days), owed
    )
    for zone, data_sets in late.items():
        for one in data_sets:
            yield Fault(
                "a zone lacks a proven copy of a data set", f"{one.release} v{one.version}", zone
            )


def _work_folders(context: ProjectContext) -> Iterator[Fault]:
    for name in ("staging", "outbox", "quarantine"):
        folder: Path = getattr(context.site, name)
        if folder.stat().st_mode & 0o077:
            yield Fault("others can enter a work folder", name, f"run chmod 700 {folder}")
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
        known = context.ledger.studies.records([path.name for path in found])
        states = {study.ref: study.state for study in known}
        for study in found:
            if study.name not in states:
                yield Fault(
                    "a work folder holds a study that the ledger does not know", name, "look at it"
                )
            elif states[study.name] is StudyState.WITHDRAWN:
                yield Fault("a withdrawn study is left in a work folder", study.name, name)


def _identities(context: ProjectContext) -> set[str]:
    """Return the identifying values that the vault holds of the project's studies."""
    values: set[str] = set()
    for ref, sealed in context.ledger.vault.of_project(context.project.name):
        opened = context.vault.open(ref, sealed)
        values.update(
            value
            for key, value in opened.items()
            if key not in QUERY_KEYS | {"source"} and len(value) >= _SHORTEST
        )
    return values


def _zone(context: ProjectContext, zone: grid.Zone, identities: set[str]) -> Iterator[Fault]:
    """Compare a zone with the ledger, and its names and AVUs with the vault."""
    name, project = zone.settings.name, context.project.name
    root = f"/{name}/home/{project}/data"
    required: dict[str, str] = {}
    allowed: set[str] = set()
    studies: set[str] = set()  # collections that may hold documents
    for study in context.ledger.studies.iterate(project):
        rows = context.ledger.instances.of_study(study.ref)
        paths = {grid.object_path(name, project, row): study.ref for row in rows}
        if study.state is not StudyState.WITHDRAWN:
            allowed |= set(paths)
            studies |= {str(Path(path).parents[1]) for path in paths}
        at_home = zone is context.home and study.state in _DEPOSITED
        if at_home or study.state is StudyState.VERIFIED:
            required |= paths
    found = set(_objects(zone, root))
    lacking = Counter(required[path] for path in set(required) - found)
    for ref, count in sorted(lacking.items()):
        yield Fault("objects that the ledger lists are not in the zone", ref, f"{count} in {name}")
    for path in sorted(found - allowed):
        if str(Path(path).parent) not in studies:
            yield Fault("an object that the ledger does not list is in the zone", path, name)
    names = {part for path in found for part in path.split("/")}
    identifying = identities & (names | _avu_values(zone, root))
    # A held study that came out of the grid has pseudonyms in the vault.
    identifying -= context.ledger.issued_uids.subjects(project, identifying)
    identifying -= context.issued_uids.own(identifying)
    if identifying:
        detail = f"{len(identifying)} values"
        yield Fault("a name or AVU in the zone identifies someone", name, detail)


def _objects(zone: grid.Zone, root: str) -> Iterator[str]:
    columns = (Collection.name, DataObject.name)
    for row in zone.rows(columns, Like(Collection.name, f"{root}/%")):
        yield f"{row[Collection.name]}/{row[DataObject.name]}"


def _avu_values(zone: grid.Zone, root: str) -> set[str]:
    rows = zone.rows((CollectionMeta.value,), Like(Collection.name, f"{root}/%"))
    return {str(row[CollectionMeta.value]) for row in rows}


def _releases(context: ProjectContext) -> Iterator[Fault]:
    project = context.project.name
    for row in context.ledger.releases.versions(project):
        if row.retired_at is not None:
            continue
        where = f"{row.name} v{row.version}"
        collection = release_collection(context.home, project, row.name, row.version)
        release = collection.rsplit("/", 1)[0]
        if f"{collection}/{MANIFEST}" not in set(_objects(context.home, release)):
            yield Fault("a release has lost its manifest", where, collection)
        for ref in context.ledger.releases.study_refs(project, row.name, row.version):
            if (state := context.ledger.studies.state(ref)) is not StudyState.VERIFIED:
                yield Fault(
                    "a release lists a study that is not verified", where, f"{ref}: {state}"
                )
