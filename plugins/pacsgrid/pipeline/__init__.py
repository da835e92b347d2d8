"""The steps that take a study from its source to verified replicas, as plain functions.

The DAGs and the command line both call these.
"""

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
