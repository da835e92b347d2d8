"""One stack for every test of this folder: it takes half a minute to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pacsgrid.embedded.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("e2e") / "stack", say=print) as stack:
        yield stack
