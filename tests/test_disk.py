"""Files brought to disk many at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pacsgrid import disk


@pytest.mark.parametrize("count", [1, disk.FEW, 3 * disk.FEW])
@pytest.mark.parametrize("whole", [True, False])
def test_all_are_brought_or_the_one_that_is_not_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, whole: bool
) -> None:
    if not whole:
        monkeypatch.setattr(disk, "_SYNCFS", None)
    handles = [os.open(tmp_path / str(n), os.O_CREAT | os.O_WRONLY) for n in range(count)]
    try:
        for handle in handles:
            os.write(handle, b"x" * 1000)
        assert disk.sync_files(handles) == {}
        assert disk.sync_files([]) == {}
    finally:
        for handle in handles:
            os.close(handle)
    # A closed first handle fails the file system's sync too: then each file tells for itself.
    other = os.open(tmp_path / "0", os.O_WRONLY)
    os.close(other)
    assert set(disk.sync_files([other])) == {other}
