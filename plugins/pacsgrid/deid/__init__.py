"""De-identification after PS3.15 Annex E, and the checker that does not trust it."""

from __future__ import annotations

from .anonymise import anonymise_file
from .check import Checker, check_file
from .identifiers import StudyIdentifiers, collect_identifiers
from .image_traits import read_image
from .patient import merge_patient_prints, patient_conflict
from .processing import ProcessedFiles, StudyProcessor, StudyRulings
from .profile import Profile, load_profile
from .pseudonyms import AssignedSubject, Pseudonyms
from .report import REPORT_NAME, join_reports, study_report

__all__ = [
    "REPORT_NAME",
    "AssignedSubject",
    "Checker",
    "ProcessedFiles",
    "Profile",
    "Pseudonyms",
    "StudyIdentifiers",
    "StudyProcessor",
    "StudyRulings",
    "anonymise_file",
    "check_file",
    "collect_identifiers",
    "join_reports",
    "load_profile",
    "merge_patient_prints",
    "patient_conflict",
    "read_image",
    "study_report",
]
