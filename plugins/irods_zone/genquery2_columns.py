"""Columns of GenQuery2 by name, with view and column of the catalog, and how views join."""

from __future__ import annotations

_TABLES: dict[str, tuple[str, str]] = {
    "ZONE": ("R_ZONE_MAIN", "ID zone_id,NAME zone_name,TYPE zone_type_name,"
             "CONNECTION zone_conn_string,COMMENT r_comment,CREATE_TIME create_ts,"
             "MODIFY_TIME modify_ts"),
    "USER": ("R_USER_MAIN", "ID user_id,NAME user_name,TYPE user_type_name,ZONE zone_name,"
             "INFO user_info,COMMENT r_comment,CREATE_TIME create_ts,MODIFY_TIME modify_ts,"
             "DN_INVALID r_comment"),
    "RESC": ("R_RESC_MAIN", "ID resc_id,NAME resc_name,ZONE_NAME zone_name,"
             "TYPE_NAME resc_type_name,CLASS_NAME resc_class_name,HOSTNAME resc_net,"
             "VAULT_PATH resc_def_path,FREE_SPACE free_space,FREE_SPACE_TIME free_space_ts,"
             "INFO resc_info,COMMENT r_comment,STATUS resc_status,CREATE_TIME create_ts,"
             "MODIFY_TIME modify_ts,MODIFY_TIME_MILLIS modify_ts_millis,CHILDREN resc_children,"
             "CONTEXT resc_context,PARENT_ID resc_parent,PARENT_CONTEXT resc_parent_context"),
    "DATA": ("R_DATA_MAIN", "ID data_id,COLL_ID coll_id,NAME data_name,REPL_NUM data_repl_num,"
             "VERSION data_version,TYPE_NAME data_type_name,SIZE data_size,PATH data_path,"
             "REPL_STATUS data_is_dirty,STATUS data_status,CHECKSUM data_checksum,"
             "EXPIRY data_expiry_ts,MAP_ID data_map_id,COMMENTS r_comment,ACCESS_TIME access_ts,"
             "CREATE_TIME create_ts,MODIFY_TIME modify_ts,MODE data_mode,RESC_ID resc_id,"
             "RESC_HIER resc_hier"),
    "COLL": ("R_COLL_MAIN", "ID coll_id,NAME coll_name,PARENT_NAME parent_coll_name,"
             "MAP_ID coll_map_id,INHERITANCE coll_inheritance,COMMENTS r_comment,"
             "CREATE_TIME create_ts,MODIFY_TIME modify_ts,TYPE coll_type,INFO1 coll_info1,"
             "INFO2 coll_info2"),
    "GROUP": ("R_USER_GROUP", "ID group_user_id,MEMBER_ID user_id"),
    "DELAY_RULE": ("R_RULE_EXEC", "ID rule_exec_id,NAME rule_name,REI_FILE_PATH rei_file_path,"
                   "USER_NAME user_name,EXE_ADDRESS exe_address,EXE_TIME exe_time,"
                   "EXE_FREQUENCY exe_frequency,PRIORITY priority,"
                   "ESTIMATED_EXE_TIME estimated_exe_time,NOTIFICATION_ADDR notification_addr,"
                   "LAST_EXE_TIME last_exe_time,STATUS exe_status,LOCK_HOST lock_host,"
                   "LOCK_HOST_PID lock_host_pid,LOCK_TIME lock_ts"),
}  # fmt: skip

# name -> (alias in the query, view, column)
COLUMNS: dict[str, tuple[str, str, str]] = {
    f"{prefix}_{word}": (table, table, column)
    for prefix, (table, text) in _TABLES.items()
    for word, column in (pair.split() for pair in text.split(","))
}
COLUMNS["USER_AUTH_ID"] = ("R_USER_AUTH", "R_USER_AUTH", "user_id")
COLUMNS["USER_DN"] = ("R_USER_AUTH", "R_USER_AUTH", "user_auth_name")

# alias of metadata and access -> the view they belong to
OWNERS = {"mmd": "R_DATA_MAIN", "mmc": "R_COLL_MAIN", "mmr": "R_RESC_MAIN", "mmu": "R_USER_MAIN"}
for _word, _alias in (("DATA", "mmd"), ("COLL", "mmc"), ("RESC", "mmr"), ("USER", "mmu")):
    for _name, _column in (
        ("ATTR_NAME", "meta_attr_name"), ("ATTR_VALUE", "meta_attr_value"),
        ("ATTR_UNITS", "meta_attr_unit"), ("ATTR_ID", "meta_id"), ("CREATE_TIME", "create_ts"),
        ("MODIFY_TIME", "modify_ts"),
    ):  # fmt: skip
        COLUMNS[f"META_{_word}_{_name}"] = (_alias, "R_META_MAIN", _column)
for _word, _letter in (("DATA", "d"), ("COLL", "c")):
    OWNERS |= dict.fromkeys((f"p{_letter}oa", f"p{_letter}t", f"p{_letter}u"), f"R_{_word}_MAIN")
    for _name, _suffix, _table, _column in (
        ("PERM_ID", "oa", "R_OBJT_ACCESS", "access_type_id"),
        ("PERM_NAME", "t", "R_TOKN_MAIN", "token_name"),
        ("USER_ID", "oa", "R_OBJT_ACCESS", "user_id"),
        ("USER_NAME", "u", "R_USER_MAIN", "user_name"),
        ("USER_ZONE", "u", "R_USER_MAIN", "zone_name"),
    ):
        COLUMNS[f"{_word}_ACCESS_{_name}"] = (f"p{_letter}{_suffix}", _table, _column)

ID = {"R_DATA_MAIN": "data_id", "R_COLL_MAIN": "coll_id", "R_RESC_MAIN": "resc_id",
      "R_USER_MAIN": "user_id"}  # fmt: skip

JOINS = {
    ("R_COLL_MAIN", "R_DATA_MAIN"): "R_COLL_MAIN.coll_id = R_DATA_MAIN.coll_id",
    ("R_DATA_MAIN", "R_RESC_MAIN"): "R_DATA_MAIN.resc_id = R_RESC_MAIN.resc_id",
    ("R_USER_AUTH", "R_USER_MAIN"): "R_USER_MAIN.user_id = R_USER_AUTH.user_id",
    ("R_USER_GROUP", "R_USER_MAIN"): "R_USER_MAIN.user_id = R_USER_GROUP.group_user_id",
}


def mappings() -> dict[str, dict[str, str]]:
    """Return view and column of every column, for clients that ask."""
    return {name: {table: column} for name, (_, table, column) in COLUMNS.items()}
