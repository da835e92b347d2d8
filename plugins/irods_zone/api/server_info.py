"""Information about the server."""

from __future__ import annotations

import ssl

from ..api_messages import Reply, Request, json_body, json_reply, json_string_reply
from ..api_numbers import Api
from ..api_registry import handles
from ..framing import RELEASE
from ..session import Session
from ..xml_structures import pack


@handles(Api.GET_MISC_SVR_INFO_AN)
def _get_misc_svr_info(session: Session, request: Request) -> Reply:
    """Return type, version and zone of the server."""
    known = pack(
        "MiscSvrInfo_PI", serverType=1, serverBootTime=0, relVersion=RELEASE, apiVersion="d",
        rodsZone=session.zone.name,
    )  # fmt: skip
    about_tls = json_body({"ssl_enabled": isinstance(session.sock, ssl.SSLSocket)})
    return Reply(0, known.replace(b"</MiscSvrInfo_PI>", about_tls + b"</MiscSvrInfo_PI>"))


FEATURES = {
    "IRODS_HAS_API_ENDPOINT_GENQUERY2": 1,
    "IRODS_HAS_API_ENDPOINT_REPLICA_TRUNCATE": 1,
    "IRODS_HAS_API_ENDPOINT_TOUCH": 1,
    "IRODS_HAS_LIBRARY_TICKET_ADMINISTRATION": 2,
}


@handles(Api.GET_LIBRARY_FEATURES_AN)
def _get_library_features(session: Session, request: Request) -> Reply:
    """Return the features that newer clients ask for."""
    return json_string_reply(FEATURES)


@handles(Api.CLIENT_HINTS_AN)
def _client_hints(session: Session, request: Request) -> Reply:
    """Return what a client may adapt to: checksum scheme, rules and registered queries."""
    queries = session.catalog.rows("SELECT alias, sql FROM specific ORDER BY alias")
    return json_reply({
        "hash_scheme": "SHA256", "match_hash_policy": "compatible", "plugins": [], "rules": [],
        "specific_queries": [{q["alias"]: q["sql"]} for q in queries],
    })  # fmt: skip
