"""Each code block of the documents: parsed by what it is for, and no kind of it left out."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from pacsgrid.config.schema import SiteFile
from pacsgrid.deid import load_profile
from support.documents import (
    ROOT,
    SHELL,
    Block,
    blocks,
    pacsgrid_arguments,
    program,
    shell_commands,
)
from support.parsers import parse

COMMANDS = shell_commands()
# What starts each command of the documents, and which test sees to it.
LIVE = {"pacsgrid", "pip", "make"}  # test_commands.py, and below
LOCAL = {"awk", "head", "python3", "sha256sum", "echo", "export", "cd", "sh", "prc_write_irodsA.py"}
STACK = {"./prepare", "./site", "./three-sites"}  # test_stack.py, with a stand-in for docker
# Against the gateway: test_commands.py, and the last one tests/gateway/test_results.py.
DCMTK = {"findscu", "getscu", "storescu"}
# They need a real iRODS server or this repository's origin, so that no test runs them.
NOT_RUN = {"git": 1, "ils": 1, "iget": 1, "iquest": 2}
SECTIONS = set(SiteFile.model_fields)
PROFILE = {"overrides", "safe_private", "options"}


def test_every_block_says_its_language() -> None:
    unnamed = [str(one) for one in blocks("") if one.page != "docs/changelog.md"]
    assert not unnamed
    languages = {one.language for one in blocks()}
    assert languages <= {*SHELL, "python", "yaml", "json", "sql", "text"}


def test_every_command_is_seen_to() -> None:
    programs = Counter(program(command) for command in COMMANDS if not is_assignment(command))
    left = set(programs) - LIVE - LOCAL - STACK - DCMTK
    assert {name: programs[name] for name in left} == NOT_RUN


def is_assignment(command: str) -> bool:
    return re.fullmatch(r"\w+=\S+|\w+=\$\(.*\)", command) is not None


@pytest.mark.parametrize("block", blocks(*SHELL), ids=str)
def test_shell_blocks_are_shell(block: Block) -> None:
    subprocess.run(["sh", "-n"], input=block.text, text=True, check=True)


@pytest.mark.parametrize("command", [c for c in COMMANDS if program(c) == "pacsgrid"])
def test_commands_of_pacsgrid_can_be_said(command: str) -> None:
    parse(pacsgrid_arguments(command))


# In the running text, between backticks.
SAID = {
    found
    for page in {block.page for block in blocks()}
    for found in re.findall(r"`(pacsgrid [a-z-]+(?: [^`]*)?)`", (ROOT / page).read_text())
}


@pytest.mark.parametrize("said", sorted(SAID))
def test_commands_in_sentences_are_there(said: str) -> None:
    arguments = pacsgrid_arguments(said)
    if len(arguments) == 1:
        with pytest.raises(SystemExit) as left:
            parse([*arguments, "--help"])
        assert left.value.code == 0
    elif arguments != ["COMMAND", "--help"]:
        parse(arguments)


@pytest.mark.parametrize("command", [c for c in COMMANDS if program(c) == "make"])
def test_targets_of_make_are_there(command: str) -> None:
    _is_target(command.split()[1])


def test_targets_of_make_in_sentences_are_there() -> None:
    for page in {block.page for block in blocks()} | {"docs/upgrade.md"}:
        for target in re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text()):
            _is_target(target)


def _is_target(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{name}:", makefile, re.MULTILINE), name
    assert f"make {name} " in makefile or name in ("lint", "help"), f"`make help` lacks {name}"


@pytest.mark.parametrize("command", [c for c in COMMANDS if program(c) == "pip"])
def test_what_pip_installs_is_there(command: str) -> None:
    (what,) = command.removeprefix("pip install").split()
    found = re.fullmatch(r"'?\.(?:\[(\w+)\])?'?", what)
    assert found
    text = (ROOT / "pyproject.toml").read_text()
    if "optional-dependencies" in text and found[1]:
        assert re.search(rf"^{found[1]} = \[", text, re.MULTILINE)


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_settings_are_valid(block: Block, tmp_path: Path) -> None:
    given = yaml.safe_load(block.text)
    if set(given) <= PROFILE:
        profile = tmp_path / "my.yaml"
        profile.write_text(yaml.safe_dump({"name": "my", **given}))
        load_profile(str(profile))
        return
    assert set(given) <= SECTIONS
    SiteFile.model_validate(_completed(given))


def _completed(given: dict[str, Any]) -> dict[str, Any]:
    """Complete a part of a site file with the least that a whole one has."""
    zone = {"host": "irods", "port": 1247, "user": "svc", "password_file": "/x/password"}
    project = {"profile": "basic", "home_zone": "brno", "key_file": "/x/key"}
    least: dict[str, Any] = {
        **{room: f"/x/{room}" for room in ("staging", "outbox", "quarantine")},
        "vault_key_file": "/x/vault.key",
        "sources": {},
    }
    whole = {**least, **given}
    for section, complete in (("zones", zone), ("projects", project)):
        parts = given.get(section) or {}
        whole[section] = {
            name: part if "connection" in part else {**complete, **part}
            for name, part in parts.items()
        }
    return whole


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_is_python(block: Block) -> None:
    ast.parse(block.text)
