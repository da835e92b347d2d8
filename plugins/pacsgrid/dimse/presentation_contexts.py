"""SOP classes and transfer syntaxes of presentation contexts (PS3.8 sections 9.3.2.2, 9.3.3.2)."""

from __future__ import annotations

from collections.abc import Collection

from pacsgrid.dimse.pdu import AssociateRequest

MAX_CONTEXTS = 128  # context IDs are odd, 1 to 255

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"

# Proposed one per context, so that a source can send each instance as it is stored, without
# decoding it (PS3.5 section 10 and annex A).
TRANSFER_SYNTAXES = (
    EXPLICIT,
    IMPLICIT,
    DEFLATED,
    BIG_ENDIAN,
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first order
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.100",  # MPEG2
    "1.2.840.10008.1.2.4.102",  # MPEG-4
    "1.2.840.10008.1.2.4.201",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.203",  # HTJ2K
)

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
_STANDARD, _STORAGE = "1.2.840.10008.", "1.2.840.10008.5.1.4.1.1."

# Reasons to refuse a context (PS3.8 section 9.3.3.2).
USER_REJECTION, ABSTRACT_SYNTAX_UNSUPPORTED, TRANSFER_SYNTAXES_UNSUPPORTED = 1, 3, 4


def is_storage_class(uid: str) -> bool:
    """Return whether instances may be of this SOP class; private classes may be storage."""
    return uid.startswith(_STORAGE) or (uid != "" and not uid.startswith(_STANDARD))


def accept_storage(
    request: AssociateRequest, others: Collection[str] = ()
) -> tuple[dict[int, str], dict[int, int]]:
    """Accept C-ECHO and every storage class, each in the first known transfer syntax.

    A peer proposes first what it has; any other syntax would make it transcode.

    Parameters
    ----------
    request
        The peer's request.
    others
        Other SOP classes to accept, without compression.

    Returns
    -------
    chosen : dict
        Transfer syntax UID of each accepted context, by context ID.
    refused : dict
        Reason of each refused context, by context ID.
    """
    chosen: dict[int, str] = {}
    refused: dict[int, int] = {}
    for context in request.contexts:
        uid = context.abstract_syntax
        if uid in others:
            syntax = next((s for s in context.transfer_syntaxes if s in (EXPLICIT, IMPLICIT)), "")
            if syntax:
                chosen[context.number] = syntax
            else:
                refused[context.number] = TRANSFER_SYNTAXES_UNSUPPORTED
            continue
        if not is_storage_class(uid) and uid != VERIFICATION:
            refused[context.number] = ABSTRACT_SYNTAX_UNSUPPORTED
            continue
        syntax = next((one for one in context.transfer_syntaxes if one in TRANSFER_SYNTAXES), "")
        if syntax:
            chosen[context.number] = syntax
        else:
            refused[context.number] = TRANSFER_SYNTAXES_UNSUPPORTED
    return chosen, refused
