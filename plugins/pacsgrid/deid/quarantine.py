"""Where held files wait, each under its checksum, with their reasons beside them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from ..disk import sha256_of, sync_directories


def keep(path: Path, room: Path) -> str:
    """Copy a file into a quarantine, whole or not at all; returns its SHA-256 in hex."""
    digest = sha256_of(path)
    room.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = room / f"{digest}.dcm"
    if target.exists() and target.stat().st_size == path.stat().st_size:
        return digest
    with path.open("rb") as source, (room / f"{digest}.part").open("wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
        copy.flush()
        os.fsync(copy.fileno())
    os.replace(room / f"{digest}.part", target)
    sync_directories([room])
    return digest


def keep_with_reason(path: Path, room: Path, code: str, detail: str) -> None:
    """Keep a file and write its reason into ``reasons.jsonl``, once."""
    digest = keep(path, room)
    line = json.dumps({"sha256": digest, "code": code, "detail": detail}) + "\n"
    reasons = room / "reasons.jsonl"
    if not reasons.exists() or line not in reasons.read_text("utf-8"):
        with reasons.open("a", encoding="utf-8") as stream:
            stream.write(line)
