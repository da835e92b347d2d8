from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import sys, time
from pathlib import Path
from pacsgrid.embedded.process import ChildProcess
script = "trap '' TERM; sleep 300 & echo $! >" + sys.argv[1] + "/grandchild; wait; wait"
child = ChildProcess("sleeper", ["/bin/sh", "-c", script], Path(sys.argv[1]) / "log")
child.start()
time.sleep(300)
"""


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def test_what_a_killed_program_started_ends_too(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "plugins")}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], env=env)
    note = tmp_path / "grandchild"
    while not (note.exists() and note.read_text().strip()):
        time.sleep(0.05)
    grandchild = int(note.read_text())
    assert alive(grandchild)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 20
    while alive(grandchild) and time.monotonic() < until:
        time.sleep(0.1)
    assert not alive(grandchild)
