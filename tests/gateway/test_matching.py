"""Attribute matching (PS3.4 C.2.2.2)."""

from __future__ import annotations

from typing import Any

import pytest

from pacsgrid.gateway.matching import matches

KNOWN: dict[str, Any] = {
    "00080020": {"vr": "DA", "Value": ["20240115"]},
    "00080030": {"vr": "TM", "Value": ["101530.25"]},
    "0008002A": {"vr": "DT", "Value": ["20240115101530.25+0100"]},
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "00080061": {"vr": "CS", "Value": ["CT", "SEG"]},
    "00081030": {"vr": "LO", "Value": ["Head [contrast] 5"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Nová^Žofie", "Ideographic": "山田^太郎"}]},
    "00200013": {"vr": "IS", "Value": [7]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00280030": {"vr": "DS", "Value": [0.5, 0.75]},
    "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["SPS7"]}}]},
    "00104000": {"vr": "LT"},
}


@pytest.mark.parametrize(
    ("tag", "wanted", "fits"),
    [
        ("00081030", "", True),
        ("00081030", "*", True),
        ("00081030", "Head*", True),
        ("00081030", "Head [c*", True),
        ("00081030", "head*", False),
        ("00081030", "Head ?contrast? 5", True),
        ("00081030", "Head", False),
        ("00080060", "CT", True),
        ("00080060", "C?", True),
        ("00080060", "MR\\CT", True),
        ("00080060", "MR", False),
        ("00080061", "SEG", True),
        ("00080061", "S*", True),
        ("0020000D", "1.2.3", True),
        ("0020000D", "1.9\\1.2.3", True),
        ("0020000D", "1.9,1.2.3", True),
        ("0020000D", "1.2", False),
        ("00100010", "nová*", True),
        ("00100010", "Nová^Žofie^^", True),
        ("00100010", "山田*", True),
        ("00100010", "Novák*", False),
        ("00080020", "20240115", True),
        ("00080020", "20240101-20240115", True),
        ("00080020", "20240116-", False),
        ("00080020", "-20240115", True),
        ("00080020", "-20240114", False),
        ("00080030", "1015", True),
        ("00080030", "1000-1015", True),
        ("00080030", "101530.3-", False),
        ("00080030", "101530.2-101530.3", True),
        ("00080030", "-1014", False),
        ("0008002A", "20240115", True),
        ("0008002A", "20240115-20240116", True),
        ("0008002A", "20240115101530.25+0100", True),
        ("0008002A", "20240116-", False),
        ("00200013", "7", True),
        ("00200013", "07", True),
        ("00200013", "8", False),
        ("00200013", "x", False),
        ("00280030", "0.750", True),
        ("00400275.00400009", "SPS*", True),
        ("00400275.00400009", "SPS8", False),
        ("00104000", "*", True),
        ("00104000", "x", False),
        ("00400244", "", True),
        ("00400244", "20200101", False),
    ],
)
def test_a_key_matches_by_the_rules_of_its_vr(tag: str, wanted: str, fits: bool) -> None:
    assert matches(tag, wanted, KNOWN) is fits
