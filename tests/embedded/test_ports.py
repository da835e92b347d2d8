from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pacsgrid.embedded import ports
from pacsgrid.embedded.ports import reserve_port

# Reserves ports while the other processes do, says which, and lives until its input ends.
RESERVE = """
import sys
from pacsgrid.embedded.ports import reserve_port
sys.stdin.readline()
print(*(reserve_port() for _ in range(int(sys.argv[1]))), flush=True)
sys.stdin.readline()
"""
ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "plugins")}


def _start(count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RESERVE, str(count)],
        env=ENV,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def _ports(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout
    return [int(word) for word in process.stdout.readline().split()]


def test_programs_that_start_at_once_get_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = [_start(40) for _ in range(4)]
    try:
        for process in processes:
            _go_on(process)
        given = [port for process in processes for port in _ports(process)]
        assert len(set(given)) == len(given) == 160
        # All of a small range is theirs, so nothing is left for this process.
        monkeypatch.setattr(ports, "_candidates", lambda: list(given))
        with pytest.raises(RuntimeError, match="no free TCP port"):
            reserve_port()
        # What a killed program had reserved may be had again.
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()
        assert reserve_port() in given[:40]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_port_in_use_is_not_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        used = server.getsockname()[1]
        monkeypatch.setattr(ports, "_candidates", lambda: [used])
        with pytest.raises(RuntimeError):
            reserve_port()


def test_a_reserved_port_is_none_that_the_kernel_chooses() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not first <= reserve_port() <= last
