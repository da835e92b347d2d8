"""Keeps libraries from telling values: their warnings and logs quote datasets and addresses."""

from __future__ import annotations

import logging
import warnings


def hush() -> None:
    """Silence the libraries in this process; what matters is raised as our own errors."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom(\..*)?$")
