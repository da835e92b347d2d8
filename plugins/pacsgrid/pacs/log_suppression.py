"""Suppress library logs and warnings that may quote patient data."""

from __future__ import annotations

import logging
import warnings


def suppress_library_logs() -> None:
    """Silence pynetdicom, pydicom and urllib3 in this process.

    They quote datasets and addresses. What matters is raised as pacsgrid's own errors.
    """
    for name in ("pynetdicom", "pydicom", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom(\..*)?$")
