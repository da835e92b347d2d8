"""Hide other projects' runs from what Airflow reads for a user.

Airflow's API selects, counts, updates and deletes through SQLAlchemy's ORM. While a request is
limited to some projects, each statement gets a condition on every table that is about runs. So
lists, counts, pages and statistics agree, also those of endpoints added by a later Airflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import ColumnElement, and_, event, false, or_, select, true, tuple_
from sqlalchemy.orm import (
    InstrumentedAttribute,
    Mapper,
    ORMExecuteState,
    Session,
    configure_mappers,
    with_loader_criteria,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from pacsgrid.config import site_names
from pacsgrid.run_conf import PROJECT_DAGS, SITE_DAGS

_only: ContextVar[frozenset[str] | None] = ContextVar("pacsgrid_projects", default=None)


@contextmanager
def limited_to(projects: frozenset[str] | None) -> Iterator[None]:
    """Limit statements within the context to these projects' runs; None removes the limit."""
    token = _only.set(projects)
    try:
        yield
    finally:
        _only.reset(token)


@event.listens_for(Session, "do_orm_execute")
def _limit(state: ORMExecuteState) -> None:
    projects = _only.get()
    if projects is None or not (state.is_select or state.is_update or state.is_delete):
        return
    whole = bool(projects) and projects.issuperset(site_names().projects)
    state.statement = state.statement.options(*_criteria(projects, whole))


@lru_cache(maxsize=256)
def _criteria(projects: frozenset[str], whole: bool) -> Sequence[Any]:
    """Return the conditions for a user of these projects; `whole`: they are all of the site's."""
    found = []
    for mapper in load_models():
        condition = _condition(mapper, projects, whole)
        if condition is not None:
            found.append(with_loader_criteria(mapper.class_, condition, include_aliases=True))
    return found


@cache
def load_models() -> Sequence[Mapper[Any]]:
    """Import all of Airflow's models, and return how they are mapped.

    Called before the server answers: two requests that import and configure them at once wait for
    each other's locks for ever.
    """
    from airflow.models import import_all_models
    from airflow.models.base import Base

    import_all_models()
    configure_mappers()
    return list(Base.registry.mappers)


def _condition(
    mapper: Mapper[Any], projects: frozenset[str], whole: bool
) -> ColumnElement[bool] | None:
    """Return the condition on a table's rows; None for a table that is not about runs."""
    row = _Row(mapper)
    table = str(getattr(mapper.local_table, "name", ""))
    if table == "dag_run":
        return _own(row, projects, whole)
    if table == "backfill":
        others: ColumnElement[bool] = row.dag_id.not_in([*PROJECT_DAGS, *SITE_DAGS])
        return others
    if table == "asset_event":
        run = row.source_run_id.is_(None) | _run_is(
            row, ("source_dag_id", "source_run_id"), projects, whole
        )
        named = row.extra["project"].as_string()
        return and_(run, or_(named.is_(None), named.in_(sorted(projects))))
    if table == "log":
        return or_(
            row.dag_id.not_in([*PROJECT_DAGS, *SITE_DAGS]),
            _run_is(row, ("dag_id", "run_id"), projects, whole),
        )
    if "dag_id" in row and "run_id" in row:
        return _run_is(row, ("dag_id", "run_id"), projects, whole)
    return _by_keys(row, projects, whole)


class _Row:
    """A mapped class's attributes by their columns' names.

    Unlike the table's own columns, these follow an alias of the class.
    """

    def __init__(self, mapper: Mapper[Any]) -> None:
        self.mapper = mapper

    def __getattr__(self, name: str) -> InstrumentedAttribute[Any]:
        return self[name]

    def __getitem__(self, name: str) -> InstrumentedAttribute[Any]:
        column = self.mapper.local_table.c[name]
        key = self.mapper.get_property_by_column(column).key
        attribute: InstrumentedAttribute[Any] = getattr(self.mapper.class_, key)
        return attribute

    def __contains__(self, name: str) -> bool:
        return name in self.mapper.local_table.c


_Columns = _Row | ReadOnlyColumnCollection[str, Any]


def _by_keys(row: _Row, projects: frozenset[str], whole: bool) -> ColumnElement[bool] | None:
    """Return the condition on a table that refers to a run, task or try by a foreign key."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory

    kinds = ((DagRun, "id"), (TaskInstance, "id"), (TaskInstanceHistory, "task_instance_id"))
    for kind, key in kinds:
        table = kind.__table__
        for column in row.mapper.local_table.c:
            if any(foreign.column is table.c[key] for foreign in column.foreign_keys):
                attribute = row[column.name]
                named = table.alias()
                own = (
                    _own(named.c, projects, whole)
                    if kind is DagRun
                    else _run_is(named.c, ("dag_id", "run_id"), projects, whole)
                )
                return or_(attribute.is_(None), attribute.in_(select(named.c[key]).where(own)))
    return None


def _run_is(
    row: _Columns, columns: tuple[str, str], projects: frozenset[str], whole: bool
) -> ColumnElement[bool]:
    from airflow.models.dagrun import DagRun

    # Not correlated: a condition that loses its correlation would hold for every row.
    run = DagRun.__table__.alias()
    seen = select(run.c.dag_id, run.c.run_id).where(_own(run.c, projects, whole))
    return tuple_(*(row[column] for column in columns)).in_(seen)


def _own(run: _Columns, projects: frozenset[str], whole: bool) -> ColumnElement[bool]:
    """Return the condition that a row of `dag_run` belongs to these projects.

    A run whose conf names no project belongs to none: the default of the form at its start is
    no longer known.
    """
    conf: Any = run["conf"]
    named = conf["project"].as_string()
    return or_(
        and_(run["dag_id"].in_(list(PROJECT_DAGS)), named.in_(sorted(projects))),
        and_(run["dag_id"].in_(list(SITE_DAGS)), true() if whole else false()),
        run["dag_id"].not_in([*PROJECT_DAGS, *SITE_DAGS]),
    )
