"""### Release a cohort

Counts a cohort, asks a steward to approve the counts under **Required actions**, and freezes it as
the next version of a release that researchers fetch, verify and cite. It has verified studies
only. If studies are added or removed between count and approval, the run fails: start another.

Select a cohort by **criteria** on what the images are, such as
`Modality = CT and SliceThickness <= 1.5 and not has ContrastBolusAgent`, by the name of a **saved**
cohort, or by its **members**: subjects or study UIDs, all of them pseudonyms.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, get_current_context, task

from pacsgrid.airflow import cohorts, forms
from pacsgrid.airflow.dags import STEWARD, approval, site_dag


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
            pattern=forms.RELEASE,
            title="Name of the release",
        ),
        "title": Param(None, type=["null", "string"], maxLength=200, title="Title, as it is cited"),
        "criteria": Param(
            [],
            type="array",
            items={"type": "string", "minLength": 1, "maxLength": 4000},
            title="Criteria",
            description="Queries such as Modality = CT and PatientAge = 60..70, one per line; all "
            "must hold.",
        ),
        "saved": Param(
            None, type=["null", "string"], pattern=forms.RELEASE, title="Name of a saved cohort"
        ),
        "members": Param(
            [],
            type="array",
            items={
                "type": "string",
                "pattern": f"^({forms.subject_pattern()}|(?=.{{3,64}}$)[0-9]+([.][0-9]+)+)$",
            },
            title="Members",
            description="Subjects or study UIDs (pseudonyms), one per line.",
        ),
        "excluded": Param(
            [],
            type="array",
            items={"type": "string", "pattern": "^[0-9]+([.][0-9]+)+$", "maxLength": 64},
            title="Series to leave out",
            description="Series UIDs (pseudonyms), one per line.",
        ),
        "matching_series": Param(
            False, type="boolean", title="Release the matching series only, not their whole studies"
        ),
        "small_cells": Param(
            "refuse",
            type="string",
            enum=["refuse", "drop", "keep"],
            title="Studies below the project's release gate",
            description="Refuse the release, drop these studies, or keep them.",
        ),
    },
)
def release_cohort():
    @task
    def count() -> dict[str, str]:
        return cohorts.count(get_current_context()["params"])

    @task
    def freeze(counted: dict[str, str]) -> str:
        return cohorts.freeze(get_current_context()["params"], counted["digest"])

    counted = count()
    counted >> approval("count") >> freeze(counted)


release_cohort()
