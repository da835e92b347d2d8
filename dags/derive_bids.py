"""### Derive a BIDS data set

Converts the DICOM files of a release to NIfTI with dcm2niix, in the Brain Imaging Data Structure,
and puts them beside the release, in its collection `bids`, in each zone of the project. The DICOM
files stay the reference.

Names come from the project's rules file (`bids_rules`). A series that no rule names is left out
and listed in `code/conversion.tsv`, with the reason.

You may run it again at any time: studies that are converted are not converted again, and a new
version of a release takes over those that have not changed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, get_current_context, task

from pacsgrid.airflow import bids, forms
from pacsgrid.airflow.dags import STEWARD, site_dag
from pacsgrid.airflow.pools import ZONES


@site_dag(
    __doc__,
    "cohort",
    STEWARD,
    timedelta(hours=2),
    params={
        "project": forms.project(),
        "name": Param(
            "first",
            type="string",
            pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
            title="Name of the release",
        ),
        "version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Version",
            description="Empty for the newest.",
        ),
    },
)
def derive_bids():
    @task(pool=ZONES)
    def plan() -> list[dict[str, Any]]:
        return bids.plan(get_current_context()["params"])

    @task(pool=ZONES, execution_timeout=timedelta(hours=12))
    def convert(batch: dict[str, Any]) -> dict[str, int]:
        return bids.convert(get_current_context()["params"], batch)

    # Without anything to convert, the documents are written all the same.
    @task(pool=ZONES, trigger_rule="none_failed")
    def finish(batches: list[dict[str, Any]]) -> dict[str, int]:
        return bids.finish(get_current_context()["params"], batches)

    @task(pool=ZONES, execution_timeout=timedelta(hours=12))
    def copy(counts: dict[str, int]) -> dict[str, int]:
        return bids.copy(get_current_context()["params"], counts)

    planned = plan()
    finished = finish(planned)
    convert.expand(batch=planned) >> finished
    copy(finished)


derive_bids()
