from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from support.waiting import wait_until

PARENT = """
import signal, sys
from pathlib import Path
from pacsgrid.embedded.process import ChildProcess
script = "trap '' TERM; sleep 300 & echo $! >" + sys.argv[1] + "/grandchild; wait; wait"
child = ChildProcess("sleeper", ["/bin/sh", "-c", script], Path(sys.argv[1]) / "log")
child.start()
signal.pause()
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
    grandchild = int(wait_until(lambda: note.exists() and note.read_text().strip()))
    assert alive(grandchild)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not alive(grandchild), what="the end of the grandchild")
