"""What a large index costs: any key is answered from it, and a refresh reads what changed."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pacsgrid.gateway import Gateway, QueryLevel, index_refresh, queries, read_access
from pacsgrid.gateway.index import Index
from pacsgrid.gateway.matching import matches
from pacsgrid.gateway.read_access import ReadAccess
from pacsgrid.grid import Zone
from pacsgrid.grid.sharing import share
from support.dicom import ct
from support.served_zones import PROJECT, ServedZones

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from bench_scale import index_rows

EVA, JAN = "eva#brno", "jan#brno"
STUDIES = 3000
STUDY, SERIES = QueryLevel.STUDY, QueryLevel.SERIES


def slices(folder: Path, study: str, number: int, patient: str = "P1") -> list[Path]:
    return [
        ct(folder / f"{study}.{n}.dcm", study, f"{study}.1.{n}", f"Sub^{patient}", n, patient)
        for n in range(number)
    ]


def counts(gateway: Gateway, user: str) -> dict[str, int]:
    """Return the number of instances of each study that a user finds."""
    found = gateway.find(user, STUDY, {})
    return {one.study: one.attributes["00201208"]["Value"][0] for one in found}


class Everything:
    """The rights of a user who may read everything."""

    def ask(self, places: object) -> None:
        """Know it already."""

    def of(self, place: str) -> dict[int, frozenset[str]]:
        """Return all rights in the first zone."""
        return {1: read_access._ALL}


ALL: Any = ReadAccess(wide=Everything(), reads_all=True)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return index_rows.fill(tmp_path_factory.mktemp("large") / "index", STUDIES)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the studies whose attributes a query looks at."""
    seen: Counter[str] = Counter()
    plain = queries._Studies.__init__

    def counting(self: Any, db: Any, access: Any, ids: list[int], *rest: Any) -> None:
        seen["studies"] += len(ids)
        plain(self, db, access, ids, *rest)

    monkeypatch.setattr(queries._Studies, "__init__", counting)
    return seen


@pytest.fixture(scope="module")
def everything(large: Index) -> list[queries.Match]:
    return list(queries.find(large, ALL, SERIES, {}))


@pytest.mark.parametrize(
    "keys",
    [
        {"00100010": "p000000012"},
        {"00100010": "P00000012?"},
        {"00100010": "*0012*"},
        {"00100020": "P00000001*"},
        {"00080050": "A000000077"},
        {"00080050": "A000000077\\A000000078"},
        {"00080020": "20120101-20120131"},
        {"00080020": "-20050105"},
        {"00080020": "20050101\\20060101"},
        {"00080030": "0300-0310"},
        {"00081030": "CT KNEE native"},
        {"00081030": "*KNEE*contrast"},
        {"00081030": "ct*"},
        {"00101010": "034Y", "00100040": "F"},
        {"00180015": "HAND"},
        {"0008103E": "HAND*thin"},
        {"00180015": "HAND", "0008103E": "*scout"},
        {"00200011": "5"},
        {"00200011": "05"},
        {"00080060": "SEG"},
        {"00080060": "SEG\\RTSTRUCT"},
        {"00080070": "[M]aker A"},
        {"00120062": "YES"},
    ],
)
def test_a_key_finds_what_looking_at_everything_finds(
    large: Index, everything: list[queries.Match], keys: dict[str, str]
) -> None:
    wanted = [
        match.series
        for match in everything
        if all(matches(tag, value, match.attributes) for tag, value in keys.items())
    ]
    assert wanted or keys in ({"00080070": "[M]aker A"}, {"00081030": "ct*"})
    assert [m.series for m in queries.find(large, ALL, SERIES, keys)] == wanted


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        (STUDY, {"00100010": "P000000012"}),
        (STUDY, {"00100020": "P00000001*"}),
        (STUDY, {"00080050": "A000000077"}),
        (STUDY, {"00081030": "CT KNEE native"}),
        (STUDY, {"00081030": "*THORAX*"}),
        (STUDY, {"00080020": "20120101-20120105", "00080061": "CT"}),
        (STUDY, {"00080061": "SEG"}),
        (SERIES, {"00180015": "HAND"}),
        (SERIES, {"0008103E": "HAND thin"}),
        (SERIES, {"00200011": "6"}),
    ],
)
def test_a_query_looks_at_the_studies_that_match_and_no_others(
    large: Index, read: Counter[str], level: QueryLevel, keys: dict[str, str]
) -> None:
    found = list(queries.find(large, ALL, level, keys))
    assert len({match.study for match in found}) == read["studies"]


def test_pages_are_stable_and_those_before_are_only_counted(
    large: Index, read: Counter[str]
) -> None:
    keys = {"00080060": "CT"}
    whole = [match.study for match in queries.find(large, ALL, STUDY, keys)]
    read.clear()
    page = [m.study for m in islice(queries.find(large, ALL, STUDY, keys, 500), 50)]
    assert page == whole[500:550]
    assert read["studies"] <= 200
    assert list(queries.find(large, ALL, STUDY, keys, len(whole))) == []


def test_terms_follow_a_study_that_changes(served: ServedZones) -> None:
    (one,) = served.add(slices(served.dir / "in", "1.2.1", 2))
    share(served.home, PROJECT, [EVA])
    with Gateway(served.site()) as gateway:
        gateway.refresh()
        with gateway.index.reading() as db:
            assert db.execute("SELECT count(*) FROM posting").fetchone()[0] > 5
        served.home.session.collections.remove(served.collection(one, "brno"), force=True)
        gateway.refresh()
        with gateway.index.reading() as db:
            assert db.execute("SELECT count(*) FROM posting").fetchone()[0] == 0


def test_a_refresh_asks_for_what_changed_and_no_more(
    served: ServedZones, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.add(slices(served.dir / "in", "1.2.1", 2))
    share(served.home, PROJECT, [EVA])
    with Gateway(served.site()) as gateway:
        assert gateway.refresh(everything=False) == 1  # nothing was read before
        monkeypatch.setattr(index_refresh, "_MARGIN", -3600.0)  # all of it is old now
        asked: list[int] = []
        rows = Zone.rows

        def counting(self: Zone, *given: Any, **more: Any) -> Any:
            found = list(rows(self, *given, **more))
            asked.append(len(found))
            return iter(found)

        monkeypatch.setattr(Zone, "rows", counting)
        assert gateway.refresh(everything=False) == 0
        assert sum(asked) == 0 and len(asked) == 3 * len(gateway.zone_pool.served)
        monkeypatch.setattr(index_refresh, "_MARGIN", 120.0)
        served.add(slices(served.dir / "more", "1.2.2", 3, "P2"))
        assert gateway.refresh(everything=False) == 1
        assert counts(gateway, EVA) == {"1.2.1": 2, "1.2.2": 3}


def test_what_is_gone_or_forbidden_vanishes_before_everything_is_compared(
    served: ServedZones, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_access, "_LARGE", 1)  # as in a large project
    first, second = (
        served.add(slices(served.dir / "in", study, 2, patient))[0]
        for study, patient in (("1.2.1", "P1"), ("1.2.2", "P2"))
    )
    share(served.home, PROJECT, [EVA])
    served.grant(JAN, f"{served.collection(second, 'brno')}/{second.rows[0].series_uid}")
    with Gateway(served.site()) as gateway:
        gateway.refresh()
        assert gateway.read_access(EVA).wide is not None
        assert gateway.read_access(JAN).wide is None
        assert counts(gateway, EVA) == {"1.2.1": 2, "1.2.2": 2}
        assert counts(gateway, JAN) == {"1.2.2": 2}
        served.home.session.collections.remove(served.collection(first, "brno"), force=True)
        assert counts(gateway, EVA) == {"1.2.2": 2}
