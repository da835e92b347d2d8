"""The commands for the stack of `docker/`, run with a stand-in for Docker that does nothing."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.documents import ROOT, SHELL, Block, blocks, program

DOCKER = ROOT / "docker"
SCRIPTS = ("./prepare", "./site", "./three-sites")
# What the pages name in sentences.
SENTENCES = ("up", "down", "ps", "doctor", "backup", "restore", "restart")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("stack")
    docker = folder / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\necho "$*" >> {folder}/docker.log\n')
    docker.chmod(0o755)
    yield {
        **os.environ,
        "PATH": f"{docker.parent}:{os.environ['PATH']}",
        "PACSGRID_STATE": str(folder / "state"),
        "DOCKER_LOG": str(folder / "docker.log"),
    }


SHOWN = [block for block in blocks(*SHELL) if any(program(c) in SCRIPTS for c in block.commands())]


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_blocks_run(block: Block, environment: dict[str, str]) -> None:
    # A new operator begins with a clone: this one is here.
    text = re.sub("git clone .*\ncd pacsgrid/docker", "cd docker", block.text)
    text = text.replace("NAME", "one").replace("TIME", "2026-11-20T010000Z")
    where = ROOT if "cd docker" in text else DOCKER
    subprocess.run(["bash", "-e", "-c", text], cwd=where, env=environment, check=True, timeout=120)
    assert Path(environment["DOCKER_LOG"]).read_text()


@pytest.mark.parametrize("command", SENTENCES)
def test_what_sentences_name_reaches_docker(command: str, environment: dict[str, str]) -> None:
    log = Path(environment["DOCKER_LOG"])
    log.write_text("")
    given = [command, "2026-11-20T010000Z"] if command == "restore" else [command]
    subprocess.run(["./site", "one", *given], cwd=DOCKER, env=environment, check=True, timeout=120)
    assert "compose --project-name pacsgrid-one" in log.read_text()
