"""The steps of a study's way as plain functions; the DAGs and the command line call these."""

from pacsgrid.pipeline.context import Line
from pacsgrid.pipeline.find import find_studies
from pacsgrid.pipeline.steps import STEPS, BatchResult, run_step, settle

__all__ = ["STEPS", "BatchResult", "Line", "find_studies", "run_step", "settle"]
