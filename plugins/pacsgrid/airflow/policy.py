"""Airflow cluster policy: pools for sources and zones, and no free text about patients.

A task runs in the pool of the source or zone that it uses. A run whose conf has keys that its
DAG's form does not have is refused, and Airflow's audit log gets no free text. Airflow loads this
in every process, through the distribution's entry point ``airflow.policy``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.policies import hookimpl
from sqlalchemy import Engine, Insert, event
from sqlalchemy.orm import Mapper

from airflow import settings
from pacsgrid.run_conf import check_conf, redact_audit_entry

# Airflow 3.3 sets this only for policies in `airflow_local_settings`, and without it calls none
# when it makes a run's tasks.
settings.task_instance_mutation_hook.is_noop = False

log = logging.getLogger(__name__)
_created: set[str] = set()


# Only inserts: a run that an older pacsgrid accepted must be able to end.
@event.listens_for(Mapper, "before_insert")
def _refuse_unknown_keys(_mapper: Any, _connection: Any, row: Any) -> None:
    """Refuse a run before its conf is stored, however the run is started."""
    kind = type(row).__name__
    if kind == "DagRun":
        check_conf(row.dag_id, row.conf)
    elif kind == "Backfill":
        check_conf(row.dag_id, row.dag_run_conf)


@event.listens_for(Engine, "before_execute")
def _redact_audit_entries(
    _connection: Any, statement: Any, rows: Any, row: Any, _options: Any
) -> None:
    """Redact entries of Airflow's audit log that may name a patient.

    Airflow stores what a request sent, even if it refused it: for instance a patient ID that
    somebody took for a pseudonym. It stores whole command lines too, without the ORM's mapper.
    """
    if isinstance(statement, Insert) and getattr(statement.table, "name", "") == "log":
        for values in (*rows, row):
            if values.get("extra"):
                values["extra"] = redact_audit_entry(values.get("dag_id"), values["extra"])


@hookimpl
def task_instance_mutation_hook(task_instance: Any, dag_run: Any) -> None:
    """Put a task of pacsgrid into its pool, and create the pool if it does not exist.

    Tasks of a steward's request or of pushed studies go before those of nights and further waves.

    Parameters
    ----------
    task_instance
        The task; those of other DAGs are not changed.
    dag_run
        Its run, whose conf names source and project.
    """
    task_instance.priority_weight += extra_priority(
        task_instance.dag_id, (dag_run and dag_run.conf) or {}
    )
    pool = task_instance.pool or ""
    if not pool.startswith("pacsgrid_"):
        return
    try:
        from pacsgrid.airflow.pools import pool_of

        pool = pool_of(pool, _params(task_instance, dag_run))
        _create(pool)
        task_instance.pool = pool
    except Exception as error:
        # An exception here would stop the scheduler for every DAG.
        log.error(
            "no pool for task %s (%s): it runs in default_pool; check the site file",
            task_instance.task_id,
            type(error).__name__,
        )
        task_instance.pool = "default_pool"


def extra_priority(dag: str, conf: Mapping[str, Any]) -> int:
    """Return what is added to the priority weight of a run's tasks.

    Parameters
    ----------
    dag
        The DAG's id.
    conf
        The run's conf.
    """
    background = conf.get("ingest") or conf.get("pending")
    return 100 if dag == "ingest_studies" and not background else 0


def _params(task_instance: Any, dag_run: Any) -> dict[str, Any]:
    dag = getattr(getattr(task_instance, "task", None), "dag", None)
    given = dict(dag.params.dump()) if dag is not None else {}
    return {**given, **((dag_run and dag_run.conf) or {})}


def _create(pool: str) -> None:
    """Create a pool if it does not exist; one that an operator made or changed is not touched."""
    if pool in _created:
        return
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session
    from sqlalchemy.exc import IntegrityError

    from pacsgrid.airflow.pools import slots

    try:
        # A session of its own: the scheduler's is within a transaction.
        with create_session(scoped=False) as session:
            if Pool.get_pool(pool, session=session) is None:
                about = "Created by pacsgrid; you may change its slots."
                session.add(
                    Pool(pool=pool, slots=slots(pool), description=about, include_deferred=False)
                )
    except IntegrityError:  # another scheduler has just created it
        pass
    _created.add(pool)
