"""What the tasks of the ingest DAGs call. References are passed between tasks, never data.

Heavy modules are imported inside the functions, because the DAG processor imports this one often.
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
    if isinstance(error, PacsgridError):
        kind = AirflowException if error.retryable else AirflowFailException
        text = str(error)
    else:
        # The text of any other exception may quote a dataset, so it does not reach Airflow's logs.
        kind, text = (
            AirflowException,
            f"unexpected {type(error).__name__}; see its traceback",
        )
    translated: Exception = kind(text)
    return translated


@contextmanager
def translated() -> Iterator[None]:
    """Raise pacsgrid's exceptions as those that Airflow retries, or does not retry.

    Raises
    ------
    AirflowException
        The same may succeed when it is tried again.
    AirflowFailException
        Trying again cannot help.
    """
    try:
        yield
    except AirflowException:
        raise
    except Exception as error:
        raise _translate(error) from None


@contextmanager
def project_context(params: Mapping[str, Any], actor: str) -> Iterator[ProjectContext]:
    """Open the context of a run's project: its settings, ledger, zones and profile.

    Parameters
    ----------
    params
        The run's parameters: ``project``, and ``profile`` to use instead of the project's own.
    actor
        Who changes states, for the ledger's audit trail.

    Raises
    ------
    AirflowException, AirflowFailException
        As `translated` raises them, for errors within the ``with`` block too.
    """
    with translated():
        from pacsgrid.config import load_site
        from pacsgrid.pipeline import ProjectContext

        profile = params.get("profile") or ""
        with ProjectContext(load_site(), params["project"], actor, profile) as context:
            yield context


def _queries(context: ProjectContext, params: Mapping[str, Any]) -> list[StudyQuery]:
    """Return the queries of a run: one, or one for each kind of identifier in its selection."""
    from pacsgrid.model import StudyQuery

    base = StudyQuery(
        date_from=(params.get("date_from") or "").replace("-", ""),
        date_to=(params.get("date_to") or "").replace("-", ""),
        modalities=tuple(params.get("modalities") or ()),
    )
    if base.date_from and base.date_to and base.date_from > base.date_to:
        raise ConfigError("date_from is after date_to; swap them")
    if not (name := params.get("selection")):
        return [base]
    selection = context.ledger.selections.open(context.vault, params["project"], name)
    kinds = ("patient_ids", "accession_numbers", "study_uids")
    return [
        replace(base, **{kind: getattr(selection, kind)})
        for kind in kinds
        if getattr(selection, kind)
    ]


def find_batches(params: Mapping[str, Any]) -> list[list[str]]:
    """Find the studies that a run asks for.

    Parameters
    ----------
    params
        The run's parameters. With ``dry_run`` the numbers are logged and nothing is taken; with
        ``pending`` the source is not asked.

    Returns
    -------
    list of list of str
        Batches of the studies' references in the ledger.
    """
    with project_context(params, "ingest_studies") as context:
        from pacsgrid.pipeline import find_studies, preview_ingest
        from pacsgrid.pipeline.sync import unfinished_studies

        size = context.site.batch_size
        if params.get("pending"):
            return _batches(unfinished_studies(context, params["source"]), size)
        queries = _queries(context, params)
        if params.get("dry_run"):
            preview = preview_ingest(context, params["source"], queries)
            log.info("dry run, nothing is taken: %s", asdict(preview))
            return []
        refs: dict[str, None] = {}
        for query in queries:
            refs |= dict.fromkeys(find_studies(context, params["source"], query))
        return _batches(list(refs), size)


def _batches(refs: Sequence[str], size: int) -> list[list[str]]:
    return [list(refs[i : i + size]) for i in range(0, len(refs), size)]


def announced_pairs(extras: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return each pair of source and project that asset events announce, once."""
    pairs = {(str(extra.get("source", "")), str(extra.get("project", ""))) for extra in extras}
    return [{"source": s, "project": p} for s, p in sorted(pairs) if s and p]


def do_step(name: str, params: Mapping[str, Any], refs: Sequence[str]) -> list[str]:
    """Run one step of the pipeline over a batch.

    Parameters
    ----------
    name
        The step, such as ``retrieve``.
    params
        The run's parameters.
    refs
        References of the batch's studies.

    Returns
    -------
    list of str
        References of the studies that go on to the next step.
    """
    with project_context(params, f"ingest_studies.{name}") as context:
        from pacsgrid.pipeline import run_step

        with metrics.step(context, name, refs):
            return run_step(context, name, refs).refs


def do_settle(params: Mapping[str, Any], refs: Sequence[str]) -> int:
    """Remove what verified studies left in staging and outbox.

    Parameters
    ----------
    params
        The run's parameters.
    refs
        References of the batch's studies.

    Returns
    -------
    int
        How many studies were verified.
    """
    with project_context(params, "ingest_studies.settle") as context:
        from pacsgrid.pipeline import clear_work_folders

        return clear_work_folders(context, refs)


def report(params: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of the project's studies in each state, and log what is held."""
    with project_context(params, "ingest_studies.report") as context:
        summary = context.ledger.studies.count_by_state(params["project"])
        for state, count in summary.items():
            log.info("%d studies %s", count, state)
        for row in context.ledger.held.queue(params["project"]):
            log.warning("held: %s: %s: %s", row.ref, row.code, row.detail)
        return summary
