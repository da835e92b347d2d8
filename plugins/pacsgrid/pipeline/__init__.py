"""The steps of a study's way as plain functions; the DAGs and the command line call these."""

from pacsgrid.pipeline.context import Line
from pacsgrid.pipeline.find import Outlook, find_studies, look
from pacsgrid.pipeline.steps import STEPS, BatchResult, run_step, settle

__all__ = ["STEPS", "BatchResult", "Line", "Outlook", "find_studies", "look", "run_step", "settle"]
