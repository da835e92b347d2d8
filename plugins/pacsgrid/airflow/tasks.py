"""What the DAG's tasks call. References go in and out, never data and never identity.

Heavy imports stand inside the functions: the DAG processor imports this module often.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from pacsgrid.errors import PacsgridError


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


def find_batches(params: Mapping[str, Any]) -> list[list[str]]:
    """Find the studies that the form asks for; returns batches of opaque references."""
    try:
        from pacsgrid.config import load_site
        from pacsgrid.model import StudyQuery
        from pacsgrid.pipeline import Line, find_studies

        site = load_site()
        query = StudyQuery(
            date_from=(params.get("date_from") or "").replace("-", ""),
            date_to=(params.get("date_to") or "").replace("-", ""),
            modalities=tuple(params.get("modalities") or ()),
        )
        if query.date_from and query.date_to and query.date_from > query.date_to:
            raise AirflowFailException("date_from lies after date_to; swap them")
        with Line(site, params["project"], actor="ingest_studies") as line:
            refs = find_studies(line, params["source"], query)
        return [refs[i : i + site.batch_size] for i in range(0, len(refs), site.batch_size)]
    except AirflowFailException:
        raise
    except Exception as error:
        raise _translate(error) from None


def announced_pairs(extras: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Give each source and project that asset events name, once."""
    pairs = {(str(extra.get("source", "")), str(extra.get("project", ""))) for extra in extras}
    return [{"source": s, "project": p} for s, p in sorted(pairs) if s and p]


def do_step(name: str, project: str, refs: Sequence[str]) -> list[str]:
    """Run one step of the pipeline over a batch; returns the references that go on."""
    try:
        from pacsgrid.config import load_site
        from pacsgrid.pipeline import Line, run_step

        with Line(load_site(), project, actor=f"ingest_studies.{name}") as line:
            return run_step(line, name, refs).refs
    except Exception as error:
        raise _translate(error) from None


def do_settle(project: str, refs: Sequence[str]) -> int:
    """Wipe what verified studies left in staging and outbox; returns how many there were."""
    try:
        from pacsgrid.config import load_site
        from pacsgrid.pipeline import Line, settle

        with Line(load_site(), project, actor="ingest_studies.settle") as line:
            return settle(line, refs)
    except Exception as error:
        raise _translate(error) from None


def report(project: str) -> dict[str, int]:
    """Return the number of the project's studies in each state, and log what is held."""
    try:
        import logging

        from pacsgrid.config import load_site
        from pacsgrid.pipeline import Line

        log = logging.getLogger(__name__)
        with Line(load_site(), project, actor="ingest_studies.report") as line:
            summary = line.ledger.summary(project)
            for state, count in summary.items():
                log.info("%d studies %s", count, state)
            for row in line.ledger.held(project):
                log.warning("held: %s: %s: %s", row.ref, row.code, row.detail)
        return summary
    except Exception as error:
        raise _translate(error) from None
