"""The log of the services that run on their own: lines to read, or a JSON object a line."""

from __future__ import annotations

import argparse
import json
import logging
from datetime import UTC, datetime

FORMATS = ("text", "json")


def add_log_format(parser: argparse.ArgumentParser) -> None:
    """Declare the option ``--log-format``."""
    parser.add_argument(
        "--log-format",
        choices=FORMATS,
        default="text",
        help="how the log is written to standard error: lines to read, or JSON, an object a line "
        "(default: text)",
    )


def start_log(log_format: str) -> None:
    """Write this process's log to standard error, from level INFO.

    Parameters
    ----------
    log_format
        One of `FORMATS`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines()
        if log_format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class JsonLines(logging.Formatter):
    """A JSON object a line, with the keys that Airflow's own JSON log has."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record; what was raised is in the key ``error_detail``."""
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if record.exc_info:
            line["error_detail"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
