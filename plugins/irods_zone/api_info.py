"""What the server tells about itself."""

from __future__ import annotations

import ssl

from .request import Reply, Request, api, json_body, json_reply, json_string
from .session import Session
from .wire import RELEASE, pack


@api(700)
def misc_info(s: Session, r: Request) -> Reply:
    """Server type, version, zone."""
    known = pack(
        "MiscSvrInfo_PI", serverType=1, serverBootTime=0, relVersion=RELEASE, apiVersion="d",
        rodsZone=s.server.zone,
    )  # fmt: skip
    about_tls = json_body({"ssl_enabled": isinstance(s.sock, ssl.SSLSocket)})
    return Reply(0, known.replace(b"</MiscSvrInfo_PI>", about_tls + b"</MiscSvrInfo_PI>"))


FEATURES = {
    "IRODS_HAS_API_ENDPOINT_GENQUERY2": 1,
    "IRODS_HAS_API_ENDPOINT_REPLICA_TRUNCATE": 1,
    "IRODS_HAS_API_ENDPOINT_TOUCH": 1,
    "IRODS_HAS_LIBRARY_TICKET_ADMINISTRATION": 2,
}


@api(801)
def library_features(s: Session, r: Request) -> Reply:
    """What this server can do beyond the oldest ones."""
    return json_string(FEATURES)


@api(10215)
def client_hints(s: Session, r: Request) -> Reply:
    """What a client may adapt to: checksums, rules and registered queries."""
    queries = s.cat.rows("SELECT alias, sql FROM specific ORDER BY alias")
    return json_reply({
        "hash_scheme": "SHA256", "match_hash_policy": "compatible", "plugins": [], "rules": [],
        "specific_queries": [{q["alias"]: q["sql"]} for q in queries],
    })  # fmt: skip
