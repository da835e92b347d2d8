"""The steps of a study's way as plain functions; the DAGs and the command line call these."""

from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.find import IngestPreview, find_studies, preview_ingest
from pacsgrid.pipeline.steps import STEPS, BatchResult, clear_work_folders, run_step

__all__ = [
    "STEPS",
    "BatchResult",
    "IngestPreview",
    "ProjectContext",
    "clear_work_folders",
    "find_studies",
    "preview_ingest",
    "run_step",
]
