"""### Ingest studies

Retrieves studies from a source, anonymises and checks them, deposits them in the project's home
zone, replicates them, and verifies the checksums that every zone recomputes from storage.

Choose **which studies** by study date and modality below. To name patients, accessions or studies,
start the run on the page **pacsgrid, Ingest**: it seals the names and passes on an opaque
*selection*, so that no run holds what identifies anyone.

Everything that the source answers is entered into the ledger. A run takes a **wave** of it (`wave`
in the site file), and starts the next run itself until nothing is left, or the source's budget for
the night is spent. `pacsgrid backfill` shows and pauses what is going on.

Of each study, the **series** are taken that the project's settings want, and of those the ones that
the rules below leave. The others are counted as *not wanted*.

A **dry run** asks the source and logs, in the task `find`, how many studies there are and how many
are new. It enters and moves nothing.

You may run it again at any time: what is proven is not repeated, and what failed continues where
it stopped. Studies and files that cannot continue are **held** with a reason; the task `report`
lists them, and a steward decides about them in the DAG `review_held`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import get_current_context, task, task_group

from pacsgrid.airflow import forms, tasks
from pacsgrid.airflow.dags import STEWARD, VERIFIED, site_dag
from pacsgrid.airflow.operators.waves import FindWaveOperator, NextWaveOperator
from pacsgrid.airflow.pools import SOURCES, ZONES


@site_dag(
    __doc__,
    "ingest",
    STEWARD,
    timedelta(hours=1),
    retries=5,
    retry_delay=timedelta(seconds=5),
    longest_delay=timedelta(minutes=10),
    # Runs beside each other have different studies: a small request does not wait for a backfill.
    max_active_runs=16,
    params={
        "source": forms.source(),
        "project": forms.project(),
        "selection": forms.selection(),
        "date_from": forms.date("from"),
        "date_to": forms.date("to"),
        "modalities": forms.modalities(),
        "series_include": forms.series("include"),
        "series_exclude": forms.series("exclude"),
        "profile": forms.profile(),
        "dry_run": forms.dry_run(),
        "pending": forms.pending(),
        "ingest": forms.ingest(),
    },
)
def ingest_studies():
    find = FindWaveOperator(task_id="find")

    @task(pool=SOURCES, execution_timeout=timedelta(hours=12))
    def take(refs: list[str]) -> list[str]:
        return tasks.take_batch(get_current_context()["params"], list(refs))

    @task(pool=ZONES, execution_timeout=timedelta(hours=12))
    def prove(refs: list[str]) -> int:
        return tasks.prove_batch(get_current_context()["params"], list(refs))

    @task_group
    def batch(refs):
        prove(take(refs))

    @task(trigger_rule="all_done")
    def report(batches: list[list[str]] | None) -> dict[str, int]:
        refs = [ref for batch in batches or () for ref in batch]
        return tasks.report(get_current_context()["params"], refs)

    @task(trigger_rule="none_failed", outlets=[VERIFIED])
    def all_through() -> None:
        """End the run, which fails here if a batch has failed."""

    batches = batch.expand(refs=find.output)
    told = report(find.output)
    batches >> told
    batches >> all_through()
    told >> NextWaveOperator(task_id="next_wave", batches=find.output, trigger_rule="all_done")


ingest_studies()
