"""De-identification after PS3.15 Annex E, and the checker that does not trust it."""

from __future__ import annotations

from .anonymise import anonymise_file
from .checker import check_file
from .identifiers import StudyIdentifiers, collect_identifiers
from .profile import Profile, load_profile
from .pseudonyms import Pseudonyms

__all__ = [
    "Profile",
    "Pseudonyms",
    "StudyIdentifiers",
    "anonymise_file",
    "check_file",
    "collect_identifiers",
    "load_profile",
]
