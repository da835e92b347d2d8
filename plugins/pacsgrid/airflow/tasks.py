"""What the tasks of the ingest DAGs call. References are passed between tasks, never data.

Heavy modules are imported inside the functions, because the DAG processor imports this one often.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from pacsgrid.airflow import metrics
from pacsgrid.errors import ConfigError, PacsgridError

if TYPE_CHECKING:
    from pacsgrid.config import SeriesSelection
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

    Yields
    ------
    ProjectContext
        The context, which is closed in the end.

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


def _series(params: Mapping[str, Any]) -> SeriesSelection:
    """Return the selection of series that a run's form describes."""
    from pacsgrid.config import parse_selection

    return parse_selection(params.get("series_include") or (), params.get("series_exclude") or ())


def find_wave(
    params: Mapping[str, Any], run: str, is_over: Callable[[str], bool]
) -> list[list[str]]:
    """Find what a run asks for, and claim the run's wave of it.

    Parameters
    ----------
    params
        The run's parameters. With ``dry_run`` the numbers are logged and nothing is taken; with
        ``pending`` the source is not asked, and with ``ingest`` an ingest goes on.
    run
        The run's id.
    is_over
        Whether another run of the DAG, given by its id, has ended or was deleted.

    Returns
    -------
    list of list of str
        Batches of the studies' references in the ledger.
    """
    from airflow.configuration import conf

    most = conf.getint("core", "max_map_length", fallback=1024)
    with project_context(params, "ingest_studies") as context:
        from pacsgrid.pipeline import preview_ingest, waves

        source = params["source"]
        _series(params)  # a wrong rule is told by a dry run too
        if params.get("dry_run"):
            preview = preview_ingest(context, source, _queries(context, params))
            log.info("dry run, nothing is taken: %s", asdict(preview))
            return []
        if back := waves.give_back(context.ledger, is_over):
            log.info("%d studies of runs that are over can be taken again", back)
        if not params.get("ingest"):
            if params.get("pending"):
                waves.begin_nightly(context, source)
            else:
                named = bool(params.get("selection"))
                series = _series(params)
                waves.ask(context, source, _queries(context, params), run, named, series)
        return waves.hand_out(context, _ingest(params, run), run, most)


def _ingest(params: Mapping[str, Any], run: str) -> str:
    """Return the id of the ingest that a run works off."""
    from pacsgrid.pipeline import waves

    if params.get("ingest"):
        return str(params["ingest"])
    if params.get("pending"):
        return waves.nightly_id(params["project"], params["source"])
    return waves.ingest_id(run)


def home_answers(params: Mapping[str, Any]) -> bool:
    """Return whether the home zone of a run's project answers; ask it now."""
    with translated():
        from pacsgrid.config import load_site
        from pacsgrid.pipeline.waiting import unreachable_zones

        site = load_site()
        return not unreachable_zones(site, [site.project(params["project"]).home_zone])


def next_wave(params: Mapping[str, Any], run: str, refs: Sequence[str]) -> tuple[str, str] | None:
    """End a run's wave, and say whether another one follows.

    Parameters
    ----------
    params
        The run's parameters.
    run
        The run's id.
    refs
        The references of the studies that the run had.

    Returns
    -------
    tuple of str, or None
        Run id and ingest of the next wave; None if none is to follow.
    """
    if params.get("dry_run"):
        return None
    with project_context(params, "ingest_studies.next_wave") as context:
        from pacsgrid.pipeline import waves

        name = _ingest(params, run)
        number = waves.end_wave(context, name, run, refs)
        return (waves.next_run_id(name, number), name) if number else None


def stalled_ingests(is_over: Callable[[str], bool]) -> list[dict[str, str]]:
    """Return the conf of a run for each ingest that should go on and has no run any more.

    Parameters
    ----------
    is_over
        Whether a run of `ingest_studies`, given by its id, has ended or was deleted.
    """
    with translated():
        from pacsgrid.config import load_site
        from pacsgrid.ledger import Ledger
        from pacsgrid.pipeline import waves

        site = load_site()
        ledger = Ledger(site.ledger_dsn, "continue_ingests")
        waves.give_back(ledger, is_over)
        return [
            {"source": one.source, "project": one.project, "ingest": one.id}
            for one in ledger.ingests.to_continue(waves.QUIET)
            if one.project in site.projects and one.source in site.sources
        ]


def pending_elsewhere() -> list[dict[str, Any]]:
    """Return the conf of a run for each source with pending studies that no night asks."""
    with translated():
        from pacsgrid.config import load_site, site_names
        from pacsgrid.ledger import Ledger

        site, asked = load_site(), {(project, source) for source, project in site_names().nightly}
        return [
            {"source": source, "project": project, "pending": True}
            for project, source in Ledger(site.ledger_dsn).worklist.sources_with_work()
            if (project, source) not in asked
            and project in site.projects
            and source in site.sources
        ]


def announced_pairs(extras: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return each pair of source and project that asset events announce, once."""
    pairs = {(str(extra.get("source", "")), str(extra.get("project", ""))) for extra in extras}
    return [{"source": s, "project": p} for s, p in sorted(pairs) if s and p]


def take_batch(params: Mapping[str, Any], refs: Sequence[str]) -> list[str]:
    """Retrieve, anonymise and deposit a batch on this machine.

    Parameters
    ----------
    params
        The run's parameters.
    refs
        References of the batch's studies.

    Returns
    -------
    list of str
        References of the studies that are deposited.
    """
    with project_context(params, "ingest_studies.take") as context:
        from pacsgrid.pipeline.take import take

        with metrics.taking(context) as observe:
            return take(context, refs, observe).refs


def prove_batch(params: Mapping[str, Any], refs: Sequence[str]) -> int:
    """Replicate and verify a batch, and remove what verified studies left on this machine.

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
    with project_context(params, "ingest_studies.prove") as context:
        from pacsgrid.pipeline import clear_work_folders, run_step

        for name in ("replicate", "verify"):
            with metrics.step(context, name, refs):
                refs = run_step(context, name, refs).refs
        return clear_work_folders(context, refs)


def report(params: Mapping[str, Any], refs: Sequence[str]) -> dict[str, int]:
    """Return the number of a run's studies in each state, and log which of them are held.

    Parameters
    ----------
    params
        The run's parameters.
    refs
        The references of the studies that the run had.
    """
    with project_context(params, "ingest_studies.report") as context:
        from pacsgrid.pipeline.waves import count_run

        return count_run(context, refs)
