"""Registers of the hospital: pseudonyms that others keep, and consent."""

from pacsgrid.registers.pseudonym_service import PseudonymService
from pacsgrid.registers.subject_table import SubjectTableRow, read_subject_table

__all__ = ["PseudonymService", "SubjectTableRow", "read_subject_table"]
