"""The read-me's lists are true."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

from irods.api_number import api_number

from irods_zone import ZoneServer  # noqa: F401
from irods_zone.api_registry import HANDLERS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "plugins/irods_zone/README.md").read_text()
NEGOTIATED = {"SSL_START", "SSL_END"}  # TLS begins by negotiation


def test_apis_that_are_not_there_are_listed() -> None:
    listed = set(re.findall(r"[A-Z][A-Z0-9_]+\*?", TEXT.partition("SYS_UNMATCHED")[2]))
    names = {re.sub(r"_(AN|APN)$", "", name): number for name, number in api_number.items()}
    for name, number in names.items():
        named = any(fnmatch.fnmatch(name, pattern) for pattern in listed)
        older = re.search(r"(201|241|250|_OLD)$", name)
        if number in HANDLERS:
            assert name not in listed, f"{name} is there, and listed as absent"
        else:
            assert named or older or name in NEGOTIATED, f"{name} is absent, and not listed"


def test_failing_client_tests_are_listed() -> None:
    for line in (ROOT / "tests/irods_suite/expected_failures.txt").read_text().splitlines():
        if line and not line.startswith(("#", "data_obj_test.TestDataObjOps.test_passing")):
            module, _, test = line.split()[0].split(".")
            word = test.removeprefix("test_").partition("__")[0][:26].rstrip("_")
            assert f"`{module.removesuffix('_test')}`" in TEXT and word in TEXT, line
