"""De-identification after PS3.15 Annex E, and the checker that does not trust it."""

from __future__ import annotations

from .anonymise import anonymise_file
from .check import Checker, check_file
from .identifiers import StudyIdentifiers, collect_identifiers
from .profile import Profile, load_profile
from .pseudonyms import Pseudonyms
from .report import REPORT_NAME, study_report
from .work import Workshop

__all__ = [
    "REPORT_NAME",
    "Checker",
    "Profile",
    "Pseudonyms",
    "StudyIdentifiers",
    "Workshop",
    "anonymise_file",
    "check_file",
    "collect_identifiers",
    "load_profile",
    "study_report",
]
