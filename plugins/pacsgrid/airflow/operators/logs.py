"""The operator that removes old logs of Airflow's tasks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.configuration import conf

from pacsgrid.airflow.logs import sweep_logs

if TYPE_CHECKING:
    from airflow.sdk import Context


class SweepLogsOperator(BaseOperator):
    """Removes old logs from Airflow's log folder on this worker; returns how many files.

    Parameters
    ----------
    keep_days
        Days that a log is kept after its last line. (templated)
    """

    template_fields: Sequence[str] = ("keep_days",)

    def __init__(self, *, keep_days: int | str = 90, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keep_days = keep_days

    def execute(self, context: Context) -> int:
        """Remove them from the folder that `[logging] base_log_folder` names."""
        folder = Path(conf.get("logging", "base_log_folder"))
        return sweep_logs(folder, timedelta(days=int(self.keep_days)), time.time())
