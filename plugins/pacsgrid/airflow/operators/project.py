"""Keeping a project as its policy asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from pacsgrid.airflow import upkeep
from pacsgrid.airflow.pools import zone_pool

if TYPE_CHECKING:
    from airflow.sdk import Context


class _ProjectOperator(BaseOperator):
    def __init__(self, *, project: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.project = project


class TendProjectOperator(_ProjectOperator):
    """Gives a project every replica and proof that its policy asks for; returns what was done.

    Runs in the pool of the project's home zone unless told otherwise.

    Parameters
    ----------
    project
        A project of the site file.
    """

    def __init__(self, *, project: str, **kwargs: Any) -> None:
        super().__init__(project=project, **{"pool": zone_pool(project), **kwargs})

    def execute(self, context: Context) -> dict[str, Any]:
        """Do a night's duties; fails with the studies that have no good replica anywhere."""
        return upkeep.tend(self.project)


class AuditProjectOperator(_ProjectOperator):
    """Tells, from the ledger alone, whether a project has what its policy asks for.

    Parameters
    ----------
    project
        A project of the site file.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Return a line per zone; fails with the zones that lack something."""
        return upkeep.audit(self.project)


class SweepProjectOperator(_ProjectOperator):
    """Removes what nobody needs any more of a project; returns how much that was.

    Parameters
    ----------
    project
        A project of the site file.
    keep_rejected_days, keep_selections_days
        How long rejected files and sealed selections stay. (templated)
    """

    template_fields: Sequence[str] = ("keep_rejected_days", "keep_selections_days")

    def __init__(
        self,
        *,
        project: str,
        keep_rejected_days: int | str = 30,
        keep_selections_days: int | str = 90,
        **kwargs: Any,
    ) -> None:
        super().__init__(project=project, **kwargs)
        self.keep_rejected_days = keep_rejected_days
        self.keep_selections_days = keep_selections_days

    def execute(self, context: Context) -> dict[str, int]:
        """Sweep; what is on its way or waits for a steward is never touched."""
        return upkeep.sweep(
            self.project, int(self.keep_rejected_days), int(self.keep_selections_days)
        )
