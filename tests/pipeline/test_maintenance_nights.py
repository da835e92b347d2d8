"""A few nights of faults; `make grid-nights` runs a few hundred of them."""

from __future__ import annotations

import os
import random
from pathlib import Path

from support.maintenance_nights import Nights
from support.zones_under_test import bare_stack

NIGHTS = int(os.environ.get("PACSGRID_NIGHTS", "4"))
SEED = int(os.environ.get("PACSGRID_NIGHTS_SEED", "2"))


def test_nights_of_faults_are_repaired_or_reported(tmp_path: Path) -> None:
    with bare_stack(tmp_path / "stack") as stack:
        nights = Nights(stack, random.Random(SEED))
        nights.fill(studies=3, instances=4)
        nights.run(NIGHTS)
        print(dict(nights.counts))
        assert sum(nights.counts.values()) > NIGHTS
