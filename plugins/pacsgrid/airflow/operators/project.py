"""Operators that maintain a project as its settings ask."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from pacsgrid.airflow import maintenance
from pacsgrid.airflow.pools import zone_pool

if TYPE_CHECKING:
    from airflow.sdk import Context


class _ProjectOperator(BaseOperator):
    def __init__(self, *, project: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.project = project


class MaintainProjectOperator(_ProjectOperator):
    """Makes, verifies and repairs the replicas that a project's replication policy asks for.

    Returns how much was done of each kind. Runs in the pool of the project's home zone unless
    `pool` is given.

    Parameters
    ----------
    project
        A project of the site file.
    """

    def __init__(self, *, project: str, **kwargs: Any) -> None:
        super().__init__(project=project, **{"pool": zone_pool(project), **kwargs})

    def execute(self, context: Context) -> dict[str, Any]:
        """Do what is due; fails with the studies that have no good replica anywhere."""
        return maintenance.maintain(self.project)


class TendProjectOperator(MaintainProjectOperator):
    """The former name of `MaintainProjectOperator`, for one release.

    Parameters
    ----------
    project
        A project of the site file.
    """

    def __init__(self, *, project: str, **kwargs: Any) -> None:
        warnings.warn(
            "TendProjectOperator is now MaintainProjectOperator; change the import, this name goes "
            "in the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        super().__init__(project=project, **kwargs)


class AuditProjectOperator(_ProjectOperator):
    """Compares a project's replicas with its replication policy, from the ledger alone.

    Parameters
    ----------
    project
        A project of the site file.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Return a summary for each zone; fails with the zones that lack something."""
        return maintenance.audit(self.project)


class AskConsentOperator(_ProjectOperator):
    """Asks a project's source of consent for its patients, and resumes studies it now allows.

    Parameters
    ----------
    project
        A project of the site file that asks for consent.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return run id and conf of `withdraw_patient` for each consent that has ended."""
        return maintenance.ask_for_consent(self.project)


class SweepProjectOperator(_ProjectOperator):
    """Removes a project's files that are no longer needed; returns how many of each kind.

    Parameters
    ----------
    project
        A project of the site file.
    keep_rejected_days
        Days that the quarantine keeps the files of rejected studies. (templated)
    keep_selections_days
        Days that sealed selections are kept. (templated)
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
        """Remove them; studies in the pipeline and held studies are not touched."""
        return maintenance.sweep(
            self.project, int(self.keep_rejected_days), int(self.keep_selections_days)
        )
