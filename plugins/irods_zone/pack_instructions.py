"""Pack instructions: the members of each structure, and the structure that each API takes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .api_numbers import Api

_ARGS = "".join(f"str *arg{i}; " for i in range(10))
# The members of each structure in the order in which they are packed. "*" marks what may be absent,
# "(n)" and "[n]" an array whose length is a number or in the member n.
_LAYOUT = {
    "KeyValPair_PI": "int ssLen; str *keyWord[ssLen]; str *svalue[ssLen]",
    "InxIvalPair_PI": "int iiLen; int *inx(iiLen); int *ivalue(iiLen)",
    "InxValPair_PI": "int isLen; int *inx(isLen); str *svalue[isLen]",
    "SpecColl_PI": "int collClass; int type; str collection; str objPath; str resource;"
    " str rescHier; str phyPath; str cacheDir; int cacheDirty; int replNum",
    "DataObjInp_PI": "str objPath; int createMode; int openFlags; double offset; double dataSize;"
    " int numThreads; int oprType; struct *SpecColl_PI; struct KeyValPair_PI",
    "DataObjCopyInp_PI": "struct DataObjInp_PI; struct DataObjInp_PI",
    "OpenedDataObjInp_PI": "int l1descInx; int len; int whence; int oprType; double offset;"
    " double bytesWritten; struct KeyValPair_PI",
    "CollInpNew_PI": "str collName; int flags; int oprType; struct KeyValPair_PI",
    "CollOprStat_PI": "int filesCnt; int totalFileCnt; double bytesWritten; str lastObjPath",
    "GenQueryInp_PI": "int maxRows; int continueInx; int partialStartIndex; int options;"
    " struct KeyValPair_PI; struct InxIvalPair_PI; struct InxValPair_PI",
    "SqlResult_PI": "int attriInx; int reslen; str *value(rowCnt)",
    "GenQueryOut_PI": "int rowCnt; int attriCnt; int continueInx; int totalRowCount;"
    " struct SqlResult_PI[50]",
    "DataObjInfo_PI": "str objPath; str rescName; str rescHier; str dataType; double dataSize;"
    " str chksum; str version; str filePath; str dataOwnerName; str dataOwnerZone; int replNum;"
    " int replStatus; str statusString; double dataId; double collId; int dataMapId; int flags;"
    " str dataComments; str dataMode; str dataExpiry; str dataCreate; str dataModify;"
    " str dataAccess; int dataAccessInx; int writeFlag; str destRescName; str backupRescName;"
    " str subPath; int *specColl; int regUid; int otherFlags; struct KeyValPair_PI; str in_pdmo;"
    " int *next; double rescId; str dataAccessTime",
    "ModDataObjMeta_PI": "struct *DataObjInfo_PI; struct *KeyValPair_PI",
    "BulkOprInp_PI": "str objPath; struct GenQueryOut_PI; struct KeyValPair_PI",
    "specificQueryInp_PI": "str *sql; "
    + "".join(f"str *arg{i}; " for i in range(1, 11))
    + "int maxRows; int continueInx; int rowOffset; int options; struct KeyValPair_PI",
    "Genquery2Input_PI": "str *query_string; str *zone; int sql_only; int column_mappings",
    "generalAdminInp_PI": _ARGS.rstrip("; "),
    "userAdminInp_PI": _ARGS.rstrip("; "),
    "ModAVUMetadataInp_PI": _ARGS + "struct KeyValPair_PI",
    "modAccessControlInp_PI": "int recursiveFlag; str *accessLevel; str *userName; str *zone;"
    " str *path",
    "ticketAdminInp_PI": "".join(f"str *arg{i}; " for i in range(1, 7)) + "struct KeyValPair_PI",
    "getTempPasswordForOtherInp_PI": "str *targetUser; str *unused",
    "getTempPasswordOut_PI": "str stringToHashWith",
    "getTempPasswordForOtherOut_PI": "str stringToHashWith",
    "authRequestOut_PI": "bin *challenge(64)",
    "authResponseInp_PI": "bin *response(16); str *username",
    "BinBytesBuf_PI": "int buflen; bin *buf(buflen)",
    "RErrMsg_PI": "int status; str msg",
    "RError_PI": "int count; struct *RErrMsg_PI[count]",
    "STR_PI": "str myStr",
    "INT_PI": "int myInt",
    "fileLseekOut_PI": "double offset",
    "TransferStat_PI": "int numThreads; int flags; double bytesWritten",
    "PortList_PI": "int portNum; int cookie; int sock; int windowSize; str hostAddr",
    "PortalOprOut_PI": "int status; int l1descInx; int numThreads; str chksum; struct PortList_PI",
    "RodsObjStat_PI": "double objSize; int objType; int dataMode; str dataId; str chksum;"
    " str ownerName; str ownerZone; str createTime; str modifyTime; struct *SpecColl_PI",
    "StructFileExtAndRegInp_PI": "str objPath; str collection; int oprType; int flags;"
    " struct KeyValPair_PI",
    "MiscSvrInfo_PI": "int serverType; int serverBootTime; str relVersion; str apiVersion;"
    " str rodsZone; struct BinBytesBuf_PI",
}
# The input structure of each API that native clients may call.
_APIS = {
    "BinBytesBuf_PI": (
        Api.ATOMIC_APPLY_ACL_OPERATIONS_APN, Api.ATOMIC_APPLY_METADATA_OPERATIONS_APN,
        Api.AUTHENTICATION_APN, Api.GET_FILE_DESCRIPTOR_INFO_APN, Api.REPLICA_CLOSE_APN,
        Api.TOUCH_APN,
    ),
    "BulkOprInp_PI": (Api.BULK_DATA_OBJ_PUT_AN,),
    "CollInpNew_PI": (Api.COLL_CREATE_AN, Api.MOD_COLL_AN, Api.RM_COLL_AN),
    "DataObjCopyInp_PI": (Api.DATA_OBJ_COPY_AN, Api.DATA_OBJ_RENAME_AN),
    "DataObjInp_PI": (
        Api.DATA_OBJ_CHKSUM_AN, Api.DATA_OBJ_CREATE_AN, Api.DATA_OBJ_GET_AN, Api.DATA_OBJ_OPEN_AN,
        Api.DATA_OBJ_PHYMV_AN, Api.DATA_OBJ_PUT_AN, Api.DATA_OBJ_REPL_AN, Api.DATA_OBJ_RSYNC_AN,
        Api.DATA_OBJ_TRIM_AN, Api.DATA_OBJ_TRUNCATE_AN, Api.DATA_OBJ_UNLINK_AN,
        Api.GET_RESOURCE_INFO_FOR_OPERATION_AN, Api.OBJ_STAT_AN, Api.PHY_PATH_REG_AN,
        Api.REPLICA_OPEN_APN, Api.REPLICA_TRUNCATE_AN,
    ),
    "GenQueryInp_PI": (Api.GEN_QUERY_AN,),
    "Genquery2Input_PI": (Api.GENQUERY2_AN,),
    "INT_PI": (Api.OPR_COMPLETE_AN,),
    "ModAVUMetadataInp_PI": (Api.MOD_AVU_METADATA_AN,),
    "ModDataObjMeta_PI": (Api.DATA_OBJECT_MODIFY_INFO_APN, Api.MOD_DATA_OBJ_META_AN),
    "OpenedDataObjInp_PI": (
        Api.DATA_OBJ_CLOSE_AN, Api.DATA_OBJ_LSEEK_AN, Api.DATA_OBJ_READ_AN, Api.DATA_OBJ_WRITE_AN,
    ),
    "StructFileExtAndRegInp_PI": (Api.STRUCT_FILE_EXT_AND_REG_AN,),
    "authResponseInp_PI": (Api.AUTH_RESPONSE_AN,),
    "generalAdminInp_PI": (Api.GENERAL_ADMIN_AN,),
    "getTempPasswordForOtherInp_PI": (Api.GET_TEMP_PASSWORD_FOR_OTHER_AN,),
    "modAccessControlInp_PI": (Api.MOD_ACCESS_CONTROL_AN,),
    "specificQueryInp_PI": (Api.SPECIFIC_QUERY_AN,),
    "ticketAdminInp_PI": (Api.TICKET_ADMIN_AN,),
    "userAdminInp_PI": (Api.USER_ADMIN_AN,),
}  # fmt: skip
REQUESTS: dict[int, str] = {api: name for name, apis in _APIS.items() for api in apis}


@dataclass(frozen=True)
class Member:
    """One member of a structure.

    Attributes
    ----------
    kind : str
        ``int``, ``double``, ``str``, ``bin`` or ``struct``.
    name : str
        Its name; of a nested structure that structure's name.
    pointer : bool
        Whether it may be absent.
    size : str
        Length of an array: a number or the name of a member before; otherwise empty.
    """

    kind: str
    name: str
    pointer: bool
    size: str


_MEMBER = re.compile(r"(int|double|str|bin|struct)\s+(\*?)(\w+)(?:[(\[](\w+)[)\]])?")


def _members(layout: str) -> list[Member]:
    found = [_MEMBER.fullmatch(text.strip()) for text in layout.split(";")]
    return [Member(m[1], m[3], bool(m[2]), m[4] or "") for m in found if m is not None]


STRUCTURES = {name: _members(layout) for name, layout in _LAYOUT.items()}
