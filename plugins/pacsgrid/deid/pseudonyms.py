"""Pseudonyms derived, never drawn: the same input gives the same answer at every site."""

from __future__ import annotations

import base64
import hashlib
import hmac

_VERSION = b"pacsgrid/deid/1"


class Pseudonyms:
    """One project's pseudonym space.

    Parameters
    ----------
    key
        The project's secret, at least 16 bytes.
    project
        The project's name; part of every derivation, so that two projects that share a key
        by mistake still cannot be linked.
    """

    def __init__(self, key: bytes, project: str) -> None:
        if len(key) < 16:
            raise ValueError("a project key needs at least 16 bytes")
        self._key = hmac.new(key, _VERSION + b"\0" + project.encode(), hashlib.sha256).digest()

    def __repr__(self) -> str:
        return "Pseudonyms(...)"

    def _mac(self, domain: str, value: str) -> bytes:
        # The domain keeps, say, an accession number equal to a patient ID from linking them.
        text = domain.encode() + b"\0" + value.encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).digest()

    def uid(self, original: str) -> str:
        """Map a UID to ``2.25.`` + 128 bits (PS3.5 B.2)."""
        mac = self._mac("uid", original.strip(" \0"))
        return "2.25." + str(int.from_bytes(mac[:16], "big"))

    def subject(self, patient_id: str) -> str:
        """Map a PatientID, or what `patient_key` makes of it, to ``S`` + 12 base32 characters."""
        mac = self._mac("subject", patient_id.strip(" \0"))
        return "S" + base64.b32encode(mac[:8]).decode()[:12]

    def accession(self, a: str) -> str:
        """Map an accession number to ``A`` + 12 base32 characters (SH allows 16)."""
        mac = self._mac("accession", a.strip(" \0"))
        return "A" + base64.b32encode(mac[:8]).decode()[:12]

    def shift_days(self, patient_id: str) -> int:
        """Give the patient's date shift, -1 to -365 whole days."""
        mac = self._mac("shift", patient_id.strip(" \0"))
        return -1 - int.from_bytes(mac[:8], "big") % 365

    def patient(self, kind: str, value: str) -> str:
        """Hash something that tells patients apart, for comparison within the project alone."""
        return self._mac("patient", f"{kind}\0{value}").hex()[:16]

    def reference(self, source: str, study_uid: str) -> str:
        """Give the opaque name of a study for ledger and logs."""
        return "st-" + self._mac("reference", f"{source}\0{study_uid.strip(' ')}").hex()[:20]

    def code(self, scheme: str, value: str) -> str:
        """Map a local code value, which may be free text, to a stable opaque one."""
        return "P" + self._mac("code", f"{scheme}\0{value}").hex()[:12]
