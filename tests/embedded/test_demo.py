"""What the demo says at its end."""

from __future__ import annotations

from datetime import UTC, datetime

from pacsgrid.embedded.demo import held_lines
from pacsgrid.ledger import HeldRecord

NOW = datetime(2030, 5, 1, tzinfo=UTC)


def _held(ref: str, whole: bool, code: str) -> HeldRecord:
    return HeldRecord(ref, "demo", "pacs", whole, code, f"advice for {code}", NOW)


def test_held_studies_and_files_are_counted_apart_with_a_line_for_each_reason() -> None:
    codes = ["burned-in-text"] * 9 + ["encapsulated"] * 3
    files = [_held(f"st-{n % 4}", False, code) for n, code in enumerate(codes)]
    whole = [_held(f"st-{n}", True, "no-instance") for n in range(4)]
    assert held_lines([*files, *whole]) == [
        "held: 4 whole studies, and 12 files of 4 studies",
        "  burned-in-text: 9 files; advice for burned-in-text",
        "  encapsulated: 3 files; advice for encapsulated",
        "  no-instance: 4 whole studies; advice for no-instance",
    ]
    assert held_lines([_held("st-1", False, "x"), _held("st-1", True, "x")])[:2] == [
        "held: 1 whole study, and 1 file of 1 study",
        "  x: 1 whole study, 1 file; advice for x",
    ]
    assert held_lines([]) == ["held: 0 whole studies, and 0 files of 0 studies"]
