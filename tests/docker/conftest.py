"""Sites that were really prepared, and let know each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.compose_stack import DOCKER, SITES, Prepared, prepare


@pytest.fixture(scope="session")
def prepared() -> Iterator[Prepared]:
    # Not pytest's own place: the account that owns a state must reach it.
    root = Path(tempfile.mkdtemp(prefix="pacsgrid-state-"))
    root.chmod(0o755)
    try:
        made = prepare(root, *SITES)
        for site in SITES:
            made.state(site).chmod(0o755)
        command = [DOCKER / "federate", *SITES[1:]]
        subprocess.run(command, env={**os.environ, "PACSGRID_STATE": str(root)}, check=True)
        yield made
    finally:
        shutil.rmtree(root)
