"""De-identification after PS3.15 Annex E, and the checker that does not trust it."""

from __future__ import annotations

from .anonymise import anonymise_file
from .check import Checker, check_file
from .identifiers import StudyIdentifiers, collect_identifiers
from .profile import Profile, load_profile
from .pseudonyms import Pseudonyms

__all__ = [
    "Checker",
    "Profile",
    "Pseudonyms",
    "StudyIdentifiers",
    "anonymise_file",
    "check_file",
    "collect_identifiers",
    "load_profile",
]
