"""Cluster policy: each task runs in the pool of the source or zone it asks, no run has a conf with
keys that its form does not have.

Airflow finds this through the distribution's entry point ``airflow.policy``, in every process;
only the scheduler calls it.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.policies import hookimpl
from sqlalchemy import Engine, Insert, event
from sqlalchemy.orm import Mapper

from airflow import settings
from pacsgrid.run_conf import check_conf, quiet_entry

# Airflow 3.3 notices only the policies of an `airflow_local_settings`, and else asks none when it
# makes a run's tasks.
settings.task_instance_mutation_hook.is_noop = False

log = logging.getLogger(__name__)
_made: set[str] = set()


# Not at an update: a run that an older pacsgrid let in must be able to end.
@event.listens_for(Mapper, "before_insert")
def _refuse_unknown_keys(_mapper: Any, _connection: Any, row: Any) -> None:
    """Refuse a run, whoever starts it by whatever way, before its conf is in Airflow's database."""
    kind = type(row).__name__
    if kind == "DagRun":
        check_conf(row.dag_id, row.conf)
    elif kind == "Backfill":
        check_conf(row.dag_id, row.dag_run_conf)


@event.listens_for(Engine, "before_execute")
def _keep_entries_quiet(
    _connection: Any, statement: Any, rows: Any, row: Any, _options: Any
) -> None:
    """Enter into Airflow's audit log only what cannot name anybody.

    Airflow enters what was sent even where it was refused, as a patient ID that somebody took for
    a pseudonym, and whole command lines; the latter past the ORM's mapper.
    """
    if isinstance(statement, Insert) and getattr(statement.table, "name", "") == "log":
        for values in (*rows, row):
            if values.get("extra"):
                values["extra"] = quiet_entry(values.get("dag_id"), values["extra"])


@hookimpl
def task_instance_mutation_hook(task_instance: Any, dag_run: Any) -> None:
    """Put a task of ours into its pool, and make the pool when there is none of that name."""
    pool = task_instance.pool or ""
    if not pool.startswith("pacsgrid_"):
        return
    try:
        from pacsgrid.airflow.pools import pool_of

        pool = pool_of(pool, _params(task_instance, dag_run))
        _make(pool)
        task_instance.pool = pool
    except Exception as error:
        # An exception here would stop the scheduler for everybody.
        log.error("pool of %s: %s", task_instance.task_id, type(error).__name__)
        task_instance.pool = "default_pool"


def _params(task_instance: Any, dag_run: Any) -> dict[str, Any]:
    dag = getattr(getattr(task_instance, "task", None), "dag", None)
    given = dict(dag.params.dump()) if dag is not None else {}
    return {**given, **((dag_run and dag_run.conf) or {})}


def _make(pool: str) -> None:
    """Make a pool that is not there yet; one that an operator made or changed is left alone."""
    if pool in _made:
        return
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session
    from sqlalchemy.exc import IntegrityError

    from pacsgrid.airflow.pools import slots

    try:
        # A session of its own: the scheduler's is in the midst of a transaction.
        with create_session(scoped=False) as session:
            if Pool.get_pool(pool, session=session) is None:
                about = "Made by pacsgrid; change its slots as you like."
                session.add(
                    Pool(pool=pool, slots=slots(pool), description=about, include_deferred=False)
                )
    except IntegrityError:  # another scheduler made it just now
        pass
    _made.add(pool)
