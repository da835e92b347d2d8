"""The operator that asks a source for new studies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow.sdk import BaseOperator

from pacsgrid.airflow.pools import source_pool
from pacsgrid.airflow.tasks import project_context

if TYPE_CHECKING:
    from airflow.sdk import Context


class SynchroniseSourceOperator(BaseOperator):
    """Enters a source's new studies for a project into the ledger.

    Returns how many of its studies are not finished. Runs in the source's pool unless `pool` is
    given.

    Parameters
    ----------
    source
        A source of the site file.
    project
        A project of the site file; its `nightly_from` is the first study date asked for.
    late_days
        Days before the last successful night's that are asked for again, for studies that came
        late. (templated)
    """

    template_fields: Sequence[str] = ("late_days",)

    def __init__(
        self, *, source: str, project: str, late_days: int | str = 14, **kwargs: Any
    ) -> None:
        super().__init__(**{"pool": source_pool(source), **kwargs})
        self.source = source
        self.project = project
        self.late_days = late_days

    def execute(self, context: Context) -> int:
        """Ask for every study date that is due, up to today in the site's time zone."""
        with project_context({"project": self.project}, "nightly_sync") as opened:
            from pacsgrid.config import site_names
            from pacsgrid.pipeline.sync import sync_source
            from pacsgrid.pipeline.waves import begin_nightly

            today = datetime.now(ZoneInfo(site_names().time_zone)).date()
            first = opened.project.nightly_from or today
            most_days = opened.project.nightly_days
            sync_source(opened, self.source, today, first, int(self.late_days), most_days=most_days)
            begin_nightly(opened, self.source)
            pending = opened.ledger.worklist.count_by_state(self.project, self.source)
            return sum(pending.values())
