"""Tell UIDs that the project issued from those of a source, by their seals.

The checker takes nobody's word for it: it computes each seal from the key. A UID without a right
seal is a source's, and has to be replaced.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

_SEAL_BYTES = 16


def verified_uids(seals: Mapping[bytes, bytes], key: bytes) -> frozenset[bytes]:
    """Return the UIDs whose seals are right.

    Parameters
    ----------
    seals
        What the project's register holds for some UIDs.
    key
        The key of the seals.
    """
    return frozenset(
        uid
        for uid, seal in seals.items()
        if hmac.compare_digest(hmac.digest(key, uid, hashlib.sha256)[:_SEAL_BYTES], seal)
    )
