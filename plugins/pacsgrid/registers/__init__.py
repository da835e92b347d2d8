"""Registers of the hospital: pseudonyms that others keep, and consent."""

from pacsgrid.config.registers import ConsentSection
from pacsgrid.registers.consent import Answer, ConsentAnswer, ConsentPatient, ConsentSource
from pacsgrid.registers.consent_command import ConsentCommand
from pacsgrid.registers.consent_file import ConsentFile
from pacsgrid.registers.consent_service import ConsentService
from pacsgrid.registers.pseudonym_service import PseudonymService
from pacsgrid.registers.subject_table import SubjectTableRow, read_subject_table

__all__ = [
    "Answer",
    "ConsentAnswer",
    "ConsentPatient",
    "ConsentSource",
    "PseudonymService",
    "SubjectTableRow",
    "open_consent",
    "read_subject_table",
]


def open_consent(where: str, settings: ConsentSection) -> ConsentSource | None:
    """Return the source of consent that a project has, None if it asks nobody.

    Parameters
    ----------
    where
        The section of the site file, for messages.
    settings
        What that section says.
    """
    if settings.file is not None:
        return ConsentFile(where, settings.file)
    if settings.command:
        return ConsentCommand(where, settings.command, settings.timeout_seconds)
    return ConsentService(where, settings) if settings.url else None
