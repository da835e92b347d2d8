"""Turn DIMSE statuses and rejected associations into errors of a source, retryable or final."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pynetdicom.association import Association

from pacsgrid.dimse import status
from pacsgrid.dimse.pdu import CALLED_TITLE_UNKNOWN, CALLING_TITLE_UNKNOWN
from pacsgrid.errors import (
    PacsgridError,
    SourceError,
    SourceUnavailableError,
    SourceUnreachableError,
)

_FINAL = {
    0x0112: "no such SOP instance",
    0x0118: "no such SOP class",
    status.WRONG_SOP_CLASS: "SOP class not supported",
    status.NOT_AUTHORISED: "not authorised",
    status.UNRECOGNISED_OPERATION: "operation not recognised",
    status.MOVE_DESTINATION_UNKNOWN: "move destination unknown to the source",
    status.DOES_NOT_MATCH_SOP_CLASS: "the query does not match the SOP class",
}


def status_code(answer: Dataset) -> int | None:
    """Return the status code of pynetdicom's answer, None if no answer came (timeout, abort)."""
    value = answer.get("Status")
    return None if value is None else int(value)


def status_error(name: str, code: int | None) -> PacsgridError:
    """Return the error for a status that is neither success nor pending.

    Parameters
    ----------
    name
        The source's name.
    code
        The status (PS3.7 annex C), None if no answer came.
    """
    if code is None:
        return SourceUnreachableError(f"source {name}: no answer in time or connection lost")
    if code in _FINAL:
        return SourceError(f"source {name}: refused with 0x{code:04X}, {_FINAL[code]}")
    return SourceUnavailableError(f"source {name}: failed with status 0x{code:04X}")


def rejection_error(
    name: str, result: int | None, source: int | None, reason: int | None
) -> PacsgridError:
    """Return the error for a rejected association.

    Parameters
    ----------
    name
        The source's name.
    result, source, reason
        The fields of the A-ASSOCIATE-RJ (PS3.8 section 9.3.4).
    """
    where = f"association rejected (result {result}, source {source}, reason {reason})"
    if (result, source, reason) == CALLING_TITLE_UNKNOWN:
        return SourceError(f"source {name}: calling AE title not recognised; {where}")
    if (result, source, reason) == CALLED_TITLE_UNKNOWN:
        return SourceError(f"source {name}: called AE title not recognised; {where}")
    if result == 1:
        return SourceError(f"source {name}: {where}")
    return SourceUnavailableError(f"source {name}: {where}")


def association_error(name: str, association: Association) -> PacsgridError:
    """Return the error for an association of pynetdicom's that was not established.

    Parameters
    ----------
    name
        The source's name.
    association
        The association.
    """
    if association.is_rejected:
        answer = association.acceptor.primitive
        fields = (getattr(answer, one, None) for one in ("result", "result_source", "diagnostic"))
        return rejection_error(name, *fields)
    if association.rejected_contexts and not association.accepted_contexts:
        return SourceError(f"source {name}: no presentation context accepted")
    return SourceUnreachableError(
        f"source {name}: no association; host down, port closed or aborted"
    )
