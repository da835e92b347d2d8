"""axe-core for tests: what it finds wrong with a page for those who cannot see or point well."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Page

PACKAGE = "axe-core@4.14.1"
SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
_RUN = """async (where) => {
  const { violations } = await axe.run(where, { resultTypes: ['violations'] });
  return violations.filter((one) => ['serious', 'critical'].includes(one.impact)).flatMap((one) =>
    one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 200)}: ${node.failureSummary}`));
}"""


@cache
def _source() -> str:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", PACKAGE]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        packages = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(packages) != 1:
            pytest.skip(f"npm cannot fetch {PACKAGE}: {done.stderr.strip()[-200:]}")
        assert hashlib.sha256(packages[0].read_bytes()).hexdigest() == SHA256
        with tarfile.open(packages[0]) as tar:
            member = tar.extractfile("package/axe.min.js")
            assert member is not None
            return member.read().decode()


def faults(page: Page, where: str = "body") -> list[str]:
    """Return the serious and critical faults of a part of a page.

    Parameters
    ----------
    page
        The page, as it is shown now.
    where
        CSS selector of the part.

    Returns
    -------
    list of str
        Rule, element and what is wrong with it.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(f"() => {{ {_source()} }}")
    found: list[str] = page.evaluate(_RUN, where)
    return found
