"""pydicom quotes values in warnings and logs; here it may not."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom import config


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's value-quoting warnings and log lines while PHI is in hand."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    if level > logging.CRITICAL:
        yield  # inside another: each change of a level empties every logger's cache
        return
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
