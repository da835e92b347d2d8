"""The log of receiver and gateway as JSON."""

from __future__ import annotations

import json
import logging

from pacsgrid.cli.logs import JsonLines


def test_a_record_is_one_line_of_json() -> None:
    record = logging.LogRecord("pacsgrid.x", logging.WARNING, "x.py", 1, "a\n%s", ("č",), None)
    line = JsonLines().format(record)
    assert "\n" not in line
    read = json.loads(line)
    assert (read["event"], read["level"], read["logger"]) == ("a\nč", "warning", "pacsgrid.x")
    assert read["timestamp"].endswith("+00:00") and "error_detail" not in read


def test_what_was_raised_is_in_the_line() -> None:
    try:
        raise ValueError("of all things")
    except ValueError as error:
        given = (type(error), error, error.__traceback__)
    record = logging.LogRecord("pacsgrid", logging.ERROR, "x.py", 1, "failed", (), given)
    assert "ValueError: of all things" in json.loads(JsonLines().format(record))["error_detail"]
