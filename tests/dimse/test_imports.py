"""Where bytes stream, pynetdicom is not even loaded: the services start faster without it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["pacsgrid.pacs.storage_scp.service", "pacsgrid.gateway.dimse.service"]
)
def test_a_service_does_not_load_pynetdicom(module: str) -> None:
    code = f"import sys, {module}; sys.exit('pynetdicom' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=120)
