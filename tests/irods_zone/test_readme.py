"""The read-me is true: its lists are complete, its examples run."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest
from irods import exception
from irods.api_number import api_number

import irods_zone.server  # noqa: F401  (registers the API handlers)
from irods_zone.api_numbers import Api
from irods_zone.api_registry import HANDLERS
from irods_zone.cli import main
from irods_zone.error_codes import ErrorCode

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "plugins/irods_zone/README.md").read_text()
NEGOTIATED = {"SSL_START", "SSL_END"}  # TLS begins by negotiation


def test_missing_apis_are_listed() -> None:
    listed = set(re.findall(r"[A-Z][A-Z0-9_]+\*?", TEXT.partition("SYS_UNMATCHED")[2]))
    names = {re.sub(r"_(AN|APN)$", "", name): number for name, number in api_number.items()}
    for name, number in names.items():
        named = any(fnmatch.fnmatch(name, pattern) for pattern in listed)
        older = re.search(r"(201|241|250|_OLD)$", name)
        if number in HANDLERS:
            assert name not in listed, f"{name} is there, and listed as missing"
        else:
            assert named or older or name in NEGOTIATED, f"{name} is missing, and not listed"


def test_api_numbers_are_those_of_the_client() -> None:
    assert {api.name: api.value for api in Api if api.name in api_number} == {
        name: number for name, number in api_number.items() if name in Api.__members__
    }
    assert set(HANDLERS) == set(Api)


def test_error_codes_are_those_of_the_client() -> None:
    for code in ErrorCode:
        known = getattr(exception, code.name, None)
        assert known is None or known.code == code, code.name


def test_failing_client_tests_are_listed() -> None:
    for line in (ROOT / "tests/irods_suite/expected_failures.txt").read_text().splitlines():
        if line and not line.startswith(("#", "data_obj_test.TestDataObjOps.test_passing")):
            module, _, test = line.split()[0].split(".")
            word = test.removeprefix("test_").partition("__")[0][:26].rstrip("_")
            assert f"`{module.removesuffix('_test')}`" in TEXT and word in TEXT, line


def test_the_quick_start_runs() -> None:
    code = re.findall(r"```python\n(.*?)```", TEXT, re.S)[0]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "plugins")},
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"5 sha2:\S+ demoResc\n", done.stdout)


def test_options_that_the_read_me_names_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["--help"], ["check", "--help"]):
        with pytest.raises(SystemExit, match="0"):
            main(command)
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert (
        set(re.findall(r"--[a-z-]+", TEXT.partition("## On the")[2].partition("\n## ")[0])) <= known
    )
