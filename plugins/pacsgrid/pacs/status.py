"""DIMSE status codes and association ends, sorted into retryable and final (PS3.7 annex C)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pynetdicom.association import Association

from pacsgrid.errors import (
    PacsgridError,
    SourceError,
    SourceUnavailableError,
    SourceUnreachableError,
)

SUCCESS = 0x0000
PENDING = (0xFF00, 0xFF01)
SOME_FAILED = 0xB000
TOO_MUCH = 0xA700  # of a C-FIND: PS3.4 C.4.1.1.4

_FINAL = {
    0x0112: "no such SOP instance",
    0x0118: "no such SOP class",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0211: "operation not recognised",
    0xA801: "move destination unknown to the source",
    0xA900: "the query does not match the SOP class",
}


def code_of(status: Dataset) -> int | None:
    """Give the status code; None when no answer came (timeout, abort)."""
    value = status.get("Status")
    return None if value is None else int(value)


def failure(name: str, code: int | None) -> PacsgridError:
    """Turn a status that is neither success nor pending into the right error."""
    if code is None:
        return SourceUnreachableError(f"source {name}: no answer in time or connection lost")
    if code in _FINAL:
        return SourceError(f"source {name}: refused with 0x{code:04X}, {_FINAL[code]}")
    return SourceUnavailableError(f"source {name}: failed with status 0x{code:04X}")


def rejected(
    name: str, result: int | None, source: int | None, reason: int | None
) -> PacsgridError:
    """Turn the rejection of an association into the right error (PS3.8 9.3.4)."""
    where = f"association rejected (result {result}, source {source}, reason {reason})"
    if result == 1 and source == 1 and reason in (3, 7):
        which = "calling" if reason == 3 else "called"
        return SourceError(f"source {name}: {which} AE title not recognised; {where}")
    if result == 1:
        return SourceError(f"source {name}: {where}")
    return SourceUnavailableError(f"source {name}: {where}")


def not_established(name: str, assoc: Association) -> PacsgridError:
    """Say why there is no association."""
    if assoc.is_rejected:
        answer = assoc.acceptor.primitive
        told = (getattr(answer, one, None) for one in ("result", "result_source", "diagnostic"))
        return rejected(name, *told)
    contexts = assoc.rejected_contexts
    if contexts and not assoc.accepted_contexts:
        return SourceError(f"source {name}: no presentation context accepted")
    return SourceUnreachableError(
        f"source {name}: no association; host down, port closed or aborted"
    )
