"""Queries other than GenQuery1: GenQuery2 and registered SQL."""

from __future__ import annotations

import irods.exception as ex
import pytest
from irods.access import iRODSAccess
from irods.message import (
    GenQueryRequest,
    GenQueryResponse,
    IntegerIntegerMap,
    IntegerStringMap,
    StringStringMap,
    iRODSMessage,
)
from irods.query import SpecificQuery
from irods.session import iRODSSession

from irods_zone.api_numbers import Api

HOME = "/brno/home/rods"


@pytest.fixture
def objects(rods: iRODSSession) -> iRODSSession:
    rods.collections.create(f"{HOME}/c")
    for name, data in (("a", b"1"), ("b", b"22"), ("it's", b"333")):
        with rods.data_objects.open(f"{HOME}/c/{name}", "w") as f:
            f.write(data)
    rods.data_objects.get(f"{HOME}/c/a").metadata.add("Modality", "CT")
    rods.data_objects.get(f"{HOME}/c/b").metadata.add("Modality", "MR")
    return rods


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        (f"select DATA_NAME where COLL_NAME = '{HOME}/c' order by DATA_NAME desc limit 2",
         [["it's"], ["b"]]),
        ("select DATA_NAME, DATA_SIZE where DATA_NAME = 'it''s'", [["it's", "3"]]),
        ("select DATA_NAME where META_DATA_ATTR_NAME = 'Modality' and (META_DATA_ATTR_VALUE = 'CT'"
         " or META_DATA_ATTR_VALUE = 'PT')", [["a"]]),
        ("select count(distinct DATA_NAME), sum(DATA_SIZE) where COLL_NAME like '%/c'",
         [["3", "6"]]),
        ("select META_DATA_ATTR_VALUE, count(DATA_ID) where META_DATA_ATTR_NAME is not null"
         " group by META_DATA_ATTR_VALUE order by META_DATA_ATTR_VALUE",
         [["CT", "1"], ["MR", "1"]]),
        ("select DATA_NAME where not DATA_SIZE between '2' and '3' and DATA_NAME in ('a', 'b')",
         [["a"]]),
        ("select distinct RESC_NAME, DATA_RESC_HIER where DATA_NAME = 'a'",
         [["demoResc", "demoResc"]]),
        ("select DATA_ACCESS_USER_NAME, DATA_ACCESS_PERM_NAME where DATA_NAME = 'a'",
         [["rods", "own"]]),
        ("select DATA_NAME order by DATA_NAME offset 1 fetch first 1 rows only", [["b"]]),
        ("select cast(DATA_SIZE as int) where upper(DATA_NAME) = 'B'", [["2"]]),
    ],
)  # fmt: skip
def test_genquery2(objects: iRODSSession, query: str, rows: list[list[str]]) -> None:
    assert objects.genquery2(query) == rows


def test_genquery2_gives_a_row_for_every_right(objects: iRODSSession, bob: iRODSSession) -> None:
    objects.acls.set(iRODSAccess("read", f"{HOME}/c", "bob", "brno"))
    objects.acls.set(iRODSAccess("read", f"{HOME}/c/a", "bob", "brno"))
    query = f"select DATA_NAME where COLL_NAME = '{HOME}/c' and DATA_NAME = 'a'"
    assert objects.genquery2(query) == [["a"]] * 4
    assert bob.genquery2(f"select DATA_NAME where COLL_NAME = '{HOME}/c'") == [["a"]]


@pytest.mark.parametrize(
    "query",
    ["select", "select NO_COLUMN", "select DATA_NAME where", "select DATA_NAME; drop table data",
     "select DATA_NAME where DATA_NAME = 'a' extra", "select DATA_NAME, ZONE_NAME"],
)  # fmt: skip
def test_genquery2_says_what_is_wrong(objects: iRODSSession, query: str) -> None:
    with pytest.raises(ex.SYS_INVALID_INPUT_PARAM, match="GenQuery2"):
        objects.genquery2(query)


def test_genquery2_hides_what_a_user_may_not_see(objects: iRODSSession, bob: iRODSSession) -> None:
    assert bob.genquery2("select DATA_NAME") == []
    names = [r[0] for r in bob.genquery2("select distinct COLL_NAME")]
    assert "/brno/home/bob" in names and f"{HOME}/c" not in names


def test_registered_queries(objects: iRODSSession, bob: iRODSSession) -> None:
    sql = "select DATA_NAME from R_DATA_MAIN where DATA_SIZE >= ? order by DATA_NAME"
    query = SpecificQuery(objects, sql, "big", args=["2"])
    query.register()
    with pytest.raises(ex.CAT_INVALID_ARGUMENT, match="Alias is not unique"):
        query.register()
    assert [r[0] for r in SpecificQuery(bob, alias="big", args=["2"])] == ["b", "it's"]
    assert "big" in [r[0] for r in SpecificQuery(bob, alias="ls")]
    query.remove()
    with pytest.raises(ex.CAT_UNKNOWN_SPECIFIC_QUERY):
        list(SpecificQuery(bob, alias="big", args=["2"]))


@pytest.mark.parametrize(
    "sql",
    ["select password from user", "select string from ticket", "select load_extension('x')",
     "select 1; delete from data", "select password from temp_password"],
)  # fmt: skip
def test_registered_queries_reach_no_secrets_and_change_nothing(
    objects: iRODSSession, sql: str
) -> None:
    query = SpecificQuery(objects, sql, "bad")
    query.register()
    with pytest.raises(ex.iRODSException):
        list(query)
    assert objects.data_objects.exists(f"{HOME}/c/a")


@pytest.mark.parametrize(
    ("columns", "conditions", "rows"),
    [
        ((802,), {800: "= 'access_type'", 801: "= '1200'"}, [["own"]]),
        ((2021, 2002, 2020), {}, [["lab", "500", "demoResc"], ["lab", "900", None]]),
        ((403, 2201), {}, []),
    ],
)
def test_columns_beyond_the_clients_models(
    rods: iRODSSession,
    columns: tuple[int, ...],
    conditions: dict[int, str],
    rows: list[list[object]],
) -> None:
    rods.groups.create("lab")
    rods.groups.set_quota("lab", 900)
    rods.groups.set_quota("lab", 500, resource="demoResc")
    body = GenQueryRequest(
        maxRows=100, continueInx=0, partialStartIndex=0, options=0,
        KeyValPair_PI=StringStringMap(),
        InxIvalPair_PI=IntegerIntegerMap(dict.fromkeys(columns, 1)),
        InxValPair_PI=IntegerStringMap(conditions),
    )  # fmt: skip
    with rods.pool.get_connection() as connection:
        connection.send(iRODSMessage("RODS_API_REQ", msg=body, int_info=Api.GEN_QUERY_AN))
        try:
            found = connection.recv().get_main_message(GenQueryResponse)
        except ex.CAT_NO_ROWS_FOUND:
            assert rows == []
            return
    values = [c.value for c in found.SqlResult_PI[: found.attriCnt]]
    assert sorted(map(list, zip(*values, strict=True))) == rows
