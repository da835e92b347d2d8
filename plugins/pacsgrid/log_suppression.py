"""Suppress library logs and warnings that may contain patient data.

pydicom quotes the values of elements, pynetdicom whole datasets, urllib3 the addresses that it
asks for. What matters of it is raised as an error of pacsgrid's own, which quotes no value.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom import config


def suppress_library_logs() -> None:
    """Raise the log level of pydicom, pynetdicom and urllib3 for the rest of this process."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom(\..*)?$")


@contextmanager
def pydicom_suppressed() -> Iterator[None]:
    """Suppress pydicom's logs, warnings and validation of values inside a ``with`` block."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    if level > logging.CRITICAL:
        # Already inside such a block. Each change of a level empties every logger's cache.
        yield
        return
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
