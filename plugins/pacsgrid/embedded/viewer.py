"""Install the OHIF viewer's files (`make viewer`): the npm package that the gateway serves."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from pacsgrid.gateway.viewer import PACKAGE, PACKAGE_SHA256


class NotInstalledError(Exception):
    """The viewer cannot be installed; the message says why."""


def install_viewer(folder: Path) -> Path:
    """Install the viewer below a folder, unless it is there, and return the folder of its files.

    Raises
    ------
    NotInstalledError
        There is no npm, it cannot reach its registry, or the package is not the one that was
        tested.
    """
    place = folder.resolve() / PACKAGE.rpartition("@")[2]
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            unpacked = _unpack(Path(temporary))
            os.replace(unpacked, place)  # whole, or not at all
    return place / "dist"


def _unpack(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalledError("npm is not installed")
    command = [npm, "pack", "--silent", PACKAGE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    packages = list(folder.glob("*.tgz"))
    if done.returncode or len(packages) != 1:
        raise NotInstalledError(f"npm cannot fetch {PACKAGE}: {done.stderr.strip()[-200:]}")
    with packages[0].open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != PACKAGE_SHA256:
        raise NotInstalledError(f"{PACKAGE} is another package than the one that was tested")
    with tarfile.open(packages[0]) as tar:
        # Maps of the sources, which browsers read for developers only, are a fifth of it.
        tar.extractall(
            folder,
            members=[one for one in tar.getmembers() if not one.name.endswith(".map")],
            filter="data",
        )
    return folder / "package"


def main() -> int:
    """Install the viewer; returns 1 and says why if that cannot be done."""
    parser = argparse.ArgumentParser(prog="make viewer", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("var/viewer"))
    try:
        print(install_viewer(parser.parse_args().dir))
    except NotInstalledError as error:
        print(f"the viewer is not installed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
