"""Columns of GenQuery1 by number, with table and column of the catalog, and how tables join."""

from __future__ import annotations

from collections.abc import Collection

# Columns that other modules name.
DATA_NAME, D_DATA_CHECKSUM, DATA_MODE, D_RESC_HIER = 403, 415, 421, 422
COLL_NAME, COLL_PARENT_NAME = 501, 502

# column -> (table alias, SQL, numeric)
COLUMNS: dict[int, tuple[str, str, bool]] = {}


def _columns(alias: str, first: dict[int, str], numeric: Collection[int] = ()) -> None:
    for number, sql in first.items():
        COLUMNS[number] = (alias, sql if "(" in sql else f"{alias}.{sql}", number in numeric)


_columns("zone", {101: "id", 102: "name", 103: "type", 104: "conn", 105: "comment"}, {101})
_columns(
    "user",
    {201: "id", 202: "name", 203: "type", 204: "zone", 206: "info", 207: "comment",
     208: "ctime", 209: "mtime"}, {201},
)  # fmt: skip
_columns(
    "resc",
    {301: "id", 302: "name", 303: "(SELECT name FROM zone WHERE type='local')", 304: "type",
     305: "class", 306: "loc", 307: "vault", 308: "free", 309: "info", 310: "comment",
     311: "ctime", 312: "mtime", 313: "status", 314: "free_time", 315: "children",
     316: "context", 317: "parent", 318: "parent_ctx"}, {301},
)  # fmt: skip
_columns(
    "data",
    {401: "id", 402: "coll_id", 403: "name", 404: "repl", 405: "('')", 406: "type", 407: "size",
     409: "(SELECT r.name FROM resc r WHERE r.id=data.resc_id)", 410: "path", 411: "owner",
     412: "ozone", 413: "status", 414: "('')", 415: "checksum", 416: "expiry", 417: "(0)",
     418: "comments", 419: "ctime", 420: "mtime", 421: "mode", 422: "hier(data.resc_id)",
     423: "resc_id", 424: "atime"}, {401, 402, 404, 407, 417, 423},
)  # fmt: skip
_columns(
    "coll",
    {500: "id", 501: "name", 502: "parent", 503: "owner", 504: "ozone", 505: "(0)",
     506: "inherit", 507: "comments", 508: "ctime", 509: "mtime", 510: "('')", 511: "('')",
     512: "('')"}, {500, 505},
)  # fmt: skip
for _base, _alias in ((600, "dm"), (610, "cm"), (630, "rm"), (640, "um")):
    for _i, _c in enumerate(("attr", "value", "units", "id")):
        COLUMNS[_base + _i] = (_alias, f"{_alias}.{_c}", _c == "id")
    for _i, _c in enumerate(("ctime", "mtime")):  # when the AVU was attached
        COLUMNS[_base + 4 + _i] = (_alias, f"o_{_alias}.{_c}", False)
_LEVEL = (
    "CASE {a}.level WHEN 1000 THEN 'null' WHEN 1040 THEN 'read_metadata' WHEN 1050 THEN"
    " 'read_object' WHEN 1070 THEN 'create_metadata' WHEN 1080 THEN 'modify_metadata' WHEN 1090"
    " THEN 'delete_metadata' WHEN 1110 THEN 'create_object' WHEN 1120 THEN 'modify_object'"
    " WHEN 1130 THEN 'delete_object' ELSE 'own' END"
)
for _base, _alias in ((700, "da"), (710, "ca")):
    COLUMNS[_base] = (_alias, f"{_alias}.level", True)
    COLUMNS[_base + 1] = (_alias, "(" + _LEVEL.format(a=_alias) + ")", False)
    COLUMNS[_base + 2] = (_alias, "('access_type')", False)
    COLUMNS[_base + 3] = (_alias, f"{_alias}.user_id", True)
    COLUMNS[_base + 4] = (_alias, f"{_alias}.object_id", True)
_columns("grp", {900: "id", 901: "name"}, {900})
_columns("cu", {1300: "name", 1301: "zone"})
_columns("du", {1310: "name", 1311: "zone"})
_columns("ua", {1600: "user_id", 1601: "dn"}, {1600})
for _i, _kind in enumerate(("host", "user", "group")):
    _columns(f"t{_kind}", {2220 + 2 * _i: "ticket_id", 2221 + 2 * _i: "name"}, {2220 + 2 * _i})
_columns("tdata", {2226: "name", 2227: "coll"})
_columns("tcoll", {2228: "name"})
_columns("towner", {2229: "name", 2230: "zone"})
_columns(
    "rule",
    {1000: "rule_exec_id", 1001: "rule_name", 1002: "rei_file_path", 1003: "user_name",
     1004: "exe_address", 1005: "exe_time", 1006: "exe_frequency", 1007: "priority",
     1008: "estimated_exe_time", 1009: "notification_addr", 1010: "last_exe_time",
     1011: "exe_status", 1012: "exe_context"}, {1000},
)  # fmt: skip
_columns(
    "ticket",
    {2200: "id", 2201: "string", 2202: "type", 2203: "user_id", 2204: "object_id",
     2205: "object_type", 2206: "uses_limit", 2207: "uses_count", 2208: "expiry", 2209: "ctime",
     2210: "mtime", 2211: "wfile_count", 2212: "wfile_limit", 2213: "wbyte_count",
     2214: "wbyte_limit"}, {2200, 2203, 2204, 2206, 2207, 2211, 2212, 2213, 2214},
)  # fmt: skip
_columns(
    "quota", {2000: "user_id", 2001: "resc_id", 2002: "lim", 2003: "over", 2004: "mtime"},
    {2000, 2001, 2002, 2003},
)  # fmt: skip
_columns("qresc", {2020: "name"})
_columns("quser", {2021: "name", 2022: "zone", 2023: "type"})
_columns(
    "token",
    {800: "token_namespace", 801: "token_id", 802: "token_name", 803: "token_value",
     804: "token_value2", 805: "token_value3", 806: "r_comment"}, {801},
)  # fmt: skip
_columns("usage", {2010: "user_id", 2011: "resc_id", 2012: "usage", 2013: "mtime"},
         {2010, 2011, 2012})  # fmt: skip

# A table joins the first of these that the query already has; the order matters.
JOINS: list[tuple[str, str, str, str]] = [
    # alias, needs, from, condition
    ("data", "coll", "JOIN data", "data.coll_id=coll.id"),
    ("coll", "data", "JOIN coll", "data.coll_id=coll.id"),
    ("resc", "data", "JOIN resc", "resc.id=data.resc_id"),
    ("data", "resc", "JOIN data", "resc.id=data.resc_id"),
    ("da", "data", "JOIN access da", "da.object_id=data.id"),
    ("ca", "coll", "JOIN access ca", "ca.object_id=coll.id"),
    ("user", "da", "JOIN user", "user.id=da.user_id"),
    ("cu", "ca", "JOIN user cu", "cu.id=ca.user_id"),
    ("user", "ca", "JOIN user", "user.id=ca.user_id"),
    ("du", "da", "JOIN user du", "du.id=da.user_id"),
    ("da", "du", "JOIN access da", "du.id=da.user_id"),
    ("ca", "cu", "JOIN access ca", "cu.id=ca.user_id"),
    ("qresc", "quota", "LEFT JOIN resc qresc", "qresc.id=quota.resc_id"),
    ("quser", "quota", "JOIN user quser", "quser.id=quota.user_id"),
    ("ua", "user", "JOIN user_auth ua", "ua.user_id=user.id"),
    ("data", "da", "JOIN data", "da.object_id=data.id"),
    ("coll", "ca", "JOIN coll", "ca.object_id=coll.id"),
    ("da", "user", "JOIN access da", "user.id=da.user_id"),
    ("ca", "user", "JOIN access ca", "user.id=ca.user_id"),
    ("user", "ua", "JOIN user", "ua.user_id=user.id"),
    *(
        (
            f"t{k}",
            "ticket",
            f"JOIN ticket_limit t{k}",
            f"t{k}.ticket_id=ticket.id AND t{k}.kind='{k}'",
        )
        for k in ("host", "user", "group")
    ),
    (
        "tdata",
        "ticket",
        "JOIN (SELECT DISTINCT d.id, d.name, c.name AS coll FROM data d"
        " JOIN coll c ON c.id=d.coll_id) tdata",
        "tdata.id=ticket.object_id",
    ),
    ("tcoll", "ticket", "JOIN coll tcoll", "tcoll.id=ticket.object_id"),
    ("towner", "ticket", "JOIN user towner", "towner.id=ticket.user_id"),
    ("data", "ticket", "JOIN data", "data.id=ticket.object_id"),
    ("coll", "ticket", "JOIN coll", "coll.id=ticket.object_id"),
]
META_OF = {"dm": "data", "cm": "coll", "rm": "resc", "um": "user"}
NAMES = {
    "zone": "zone", "user": "user", "resc": "resc", "data": "data", "coll": "coll",
    "grp": "user grp", "cu": "user cu", "du": "user du", "da": "access da", "ca": "access ca",
    "ticket": "ticket", "quota": "quota", "usage": "quota_usage usage", "ua": "user_auth ua",
    "rule": "R_RULE_EXEC rule", "token": "R_TOKN_MAIN token",
}  # fmt: skip
# Tables that join through another one.
PART_OF = META_OF | {
    "thost": "ticket", "tuser": "ticket", "tgroup": "ticket", "tdata": "ticket",
    "tcoll": "ticket", "towner": "ticket", "qresc": "quota", "quser": "quota",
}  # fmt: skip
