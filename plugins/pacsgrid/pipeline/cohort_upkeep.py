"""Bring the cohort index, and the AVUs that searches use, up to date for studies of before.

A deposit enters its own study. What was deposited by a release of pacsgrid without the index is on
a list in the ledger, which gets shorter with every piece that is done.
"""

from __future__ import annotations

import logging

from pacsgrid import grid
from pacsgrid.errors import PacsgridError, RetryableError
from pacsgrid.ledger.cohort_index import StudyEntry
from pacsgrid.pipeline.cohort_entries import study_entry
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.studies import is_reachable
from pacsgrid.pipeline.study_avus import study_avus
from pacsgrid.pipeline.study_documents import searchable, study_manifest

log = logging.getLogger(__name__)

# Studies that are read, and entered into the ledger, at once.
PIECE = 200


def index_pending(context: ProjectContext) -> int:
    """Index the studies of a project that the cohort index lacks.

    Their manifests are read from the home zone over several connections, each collection gets its
    AVUs in one atomic operation, and a piece of studies is entered in one transaction.

    Parameters
    ----------
    context
        The project.

    Returns
    -------
    int
        How many studies were indexed.

    Raises
    ------
    RetryableError
        The ledger does not answer. What a zone refuses stays on the list.
    """
    zones = [zone for zone in (context.home, *context.partners) if is_reachable(context, zone)]
    if context.home not in zones:
        return 0
    done, last = 0, ""
    while refs := context.ledger.cohorts.pending(context.project.name, last, PIECE):
        last = refs[-1]
        entries = context.home.run_parallel(
            lambda ref: _entry(context, zones, ref), refs, grid.CONNECTIONS
        )
        found = [entry for entry in entries if entry is not None]
        context.ledger.cohorts.put(found)
        done += len(found)
        log.info("%d studies entered into the cohort index", done)
    return done


def _entry(context: ProjectContext, zones: list[grid.Zone], ref: str) -> StudyEntry | None:
    """Return what the index has of a study, after setting its AVUs; None to try again later."""
    rows = context.ledger.instances.of_study(ref)
    if not rows:
        return None
    try:
        known = searchable(context, study_manifest(context, ref, context.home, rows), rows)
    except PacsgridError as error:
        log.warning("%s: not indexed: %s", ref, error)
        return None
    covered = context.ledger.proofs.zones_of(ref)
    for zone in zones:
        if zone is not context.home and zone.settings.name not in covered:
            continue
        study = grid.collection_of_study(zone, context.project.name, rows)
        try:
            grid.set_avus(zone, study, study_avus(study, known))
        except RetryableError as error:
            log.warning("%s: not indexed: %s", ref, error)
            return None
        except PacsgridError as error:
            # Such as a collection that the zone lost; its next verification sees to it.
            log.warning("%s: %s", ref, error)
    return study_entry(ref, known)
