"""Restates which attributes an IOD requires, from the tables that highdicom brings.

``python -m corpus.iod_tables FOLDER`` writes the checker's `iods.csv`; FOLDER is
``highdicom/_standard`` of an unpacked wheel (``uv pip install --no-deps --target ... highdicom``).
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword

OUT = Path(__file__).parents[2] / "plugins" / "pacsgrid" / "deid" / "check" / "iods.csv"
_HEAD = """\
# Facts of DICOM PS3.3 and PS3.4 as highdicom 0.28.2 restates them (an edition of 2024 or later).
# module;number;tags of type 1;tags of type 2 (conditional ones included)
# iod;SOP Class UIDs below 1.2.840.10008;numbers of its modules
# item;sequence;tags of type 1 in its items;tags of type 2, where every module agrees
"""


def main(folder: Path) -> None:
    """Write the table."""
    iods, modules, sops = (
        json.loads((folder / f"{name}.json").read_text("utf-8"))
        for name in ("iod_module_map", "module_attribute_map", "sop_class_iod_map")
    )
    used = sorted({m["key"] for iod in sops.values() for m in iods[iod]} & modules.keys())
    numbers: dict[str, int] = {}
    lines = []
    for module in used:
        here = defaultdict(set)
        for attribute in modules[module]:
            if not attribute["path"]:
                here[_tag(attribute)].add(str(attribute["type"])[0])
        row = _row(here)
        if row != ";":
            numbers[module] = len(numbers)
            lines.append(f"module;{numbers[module]};{row}")
    places = defaultdict(list)
    for uid, iod in sops.items():
        found = sorted({numbers[m["key"]] for m in iods[iod] if m["key"] in numbers})
        places[" ".join(map(str, found))].append(uid.removeprefix("1.2.840.10008."))
    lines += [f"iod;{' '.join(uids)};{found}" for found, uids in places.items()]
    items: dict[int, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for attributes in modules.values():
        for attribute in attributes:
            if attribute["path"]:
                sequence = tag_for_keyword(attribute["path"][-1]) or 0
                items[sequence][_tag(attribute)].add(str(attribute["type"])[0])
    for sequence, here in sorted(items.items()):
        if sequence and (row := _row(here)) != ";":
            lines.append(f"item;{sequence:08x};{row}")
    OUT.write_text(_HEAD + "\n".join(lines) + "\n", "ascii")


def _tag(attribute: dict[str, Any]) -> int:
    return int(tag_for_keyword(attribute["keyword"]) or 0)


def _row(here: dict[int, set[str]]) -> str:
    """Write the tags that are of type 1, and of 1 or 2; curves and overlays go as a whole."""
    known = {tag: kinds for tag, kinds in here.items() if tag and tag >> 24 not in (0x50, 0x60)}
    first = sorted(tag for tag, kinds in known.items() if kinds == {"1"})
    second = sorted(tag for tag, kinds in known.items() if "2" in kinds and kinds <= {"1", "2"})
    return ";".join(" ".join(f"{tag:08x}" for tag in tags) for tags in (first, second))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
