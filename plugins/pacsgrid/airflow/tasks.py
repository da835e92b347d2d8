"""What the DAGs' tasks call. References go in and out, never data and never identity.

Heavy imports stand inside the functions: the DAG processor imports this module often.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from pacsgrid.airflow import metrics
from pacsgrid.errors import ConfigError, PacsgridError

if TYPE_CHECKING:
    from pacsgrid.model import StudyQuery
    from pacsgrid.pipeline import ProjectContext

log = logging.getLogger(__name__)


def _translate(error: Exception) -> Exception:
    # Nothing of a foreign error's text reaches Airflow's log or database: it may quote a dataset.
    if isinstance(error, PacsgridError):
        text = str(error)
        made: Exception = AirflowException(text) if error.retryable else AirflowFailException(text)
        return made
    unknown: Exception = AirflowException(
        f"unexpected {type(error).__name__}; see the error's place in the code"
    )
    return unknown


@contextmanager
def translated() -> Iterator[None]:
    """Turn what pacsgrid raises into what Airflow retries, or not."""
    try:
        yield
    except AirflowException:
        raise
    except Exception as error:
        raise _translate(error) from None


@contextmanager
def project_context(params: Mapping[str, Any], actor: str) -> Iterator[ProjectContext]:
    """Open the line of the form's project, with the profile that the form may name."""
    with translated():
        from pacsgrid.config import load_site
        from pacsgrid.pipeline import ProjectContext

        with ProjectContext(
            load_site(), params["project"], actor, params.get("profile") or ""
        ) as opened:
            yield opened


def _queries(opened: ProjectContext, params: Mapping[str, Any]) -> list[StudyQuery]:
    """Return what to ask: the dates and modalities, once for each kind of thing selected."""
    from pacsgrid.model import StudyQuery

    base = StudyQuery(
        date_from=(params.get("date_from") or "").replace("-", ""),
        date_to=(params.get("date_to") or "").replace("-", ""),
        modalities=tuple(params.get("modalities") or ()),
    )
    if base.date_from and base.date_to and base.date_from > base.date_to:
        raise ConfigError("date_from lies after date_to; swap them")
    if not (name := params.get("selection")):
        return [base]
    chosen = opened.ledger.selections.open(opened.vault, params["project"], name)
    kinds = ("patient_ids", "accession_numbers", "study_uids")
    return [
        replace(base, **{kind: getattr(chosen, kind)}) for kind in kinds if getattr(chosen, kind)
    ]


def find_batches(params: Mapping[str, Any]) -> list[list[str]]:
    """Find the studies that the form asks for; returns batches of opaque references.

    A dry run only logs what would be taken, and returns no batch.
    """
    with project_context(params, "ingest_studies") as opened:
        from pacsgrid.pipeline import find_studies, preview_ingest
        from pacsgrid.pipeline.sync import unfinished_studies

        size = opened.site.batch_size
        if params.get("pending"):
            todo = unfinished_studies(opened, params["source"])
            return [todo[i : i + size] for i in range(0, len(todo), size)]
        queries = _queries(opened, params)
        if params.get("dry_run"):
            outlook = preview_ingest(opened, params["source"], queries)
            log.info("dry run, nothing is taken: %s", asdict(outlook))
            return []
        refs: dict[str, None] = {}
        for query in queries:
            refs |= dict.fromkeys(find_studies(opened, params["source"], query))
        todo = list(refs)
        return [todo[i : i + size] for i in range(0, len(todo), size)]


def announced_pairs(extras: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Give each source and project that asset events name, once."""
    pairs = {(str(extra.get("source", "")), str(extra.get("project", ""))) for extra in extras}
    return [{"source": s, "project": p} for s, p in sorted(pairs) if s and p]


def do_step(name: str, params: Mapping[str, Any], refs: Sequence[str]) -> list[str]:
    """Run one step of the pipeline over a batch; returns the references that go on."""
    with project_context(params, f"ingest_studies.{name}") as opened:
        from pacsgrid.pipeline import run_step

        with metrics.step(opened, name, refs):
            return run_step(opened, name, refs).refs


def do_settle(params: Mapping[str, Any], refs: Sequence[str]) -> int:
    """Wipe what verified studies left in staging and outbox; returns how many there were."""
    with project_context(params, "ingest_studies.settle") as opened:
        from pacsgrid.pipeline import clear_work_folders

        return clear_work_folders(opened, refs)


def report(params: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of the project's studies in each state, and log what is held."""
    with project_context(params, "ingest_studies.report") as opened:
        summary = opened.ledger.studies.count_by_state(params["project"])
        for state, count in summary.items():
            log.info("%d studies %s", count, state)
        for row in opened.ledger.held.queue(params["project"]):
            log.warning("held: %s: %s: %s", row.ref, row.code, row.detail)
        return summary
