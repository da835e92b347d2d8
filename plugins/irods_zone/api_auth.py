"""Authentication."""

from __future__ import annotations

import base64

from . import codes
from .login import password_ok
from .request import Reply, Request, api, json_reply
from .session import Session
from .wire import IrodsError, pack


@api(110000)
def authenticate(s: Session, r: Request) -> Reply:
    """Native authentication as 5.0 does it."""
    data = r.json()
    step = data.get("next_operation")
    if step == "auth_agent_auth_request":
        s.challenge = s.server.new_challenge()
        data["request_result"] = s.challenge.decode()
    elif step == "auth_agent_auth_response":
        try:
            digest = base64.b64decode(str(data.get("digest", "")))
        except ValueError:
            digest = b""
        if not password_ok(s, digest):
            raise IrodsError(codes.CAT_INVALID_AUTHENTICATION, "wrong password")
    else:
        raise IrodsError(codes.SYS_INVALID_INPUT_PARAM, "unknown step")
    return json_reply(data)


@api(703)
def challenge(s: Session, r: Request) -> Reply:
    """The older request for a challenge."""
    s.challenge = s.server.new_challenge()
    return Reply(0, pack("authRequestOut_PI", challenge=base64.b64encode(s.challenge).decode()))


@api(704)
def response(s: Session, r: Request) -> Reply:
    """The older answer to a challenge."""
    try:
        digest = base64.b64decode(r.node.get("response"))
    except ValueError:
        digest = b""
    if not password_ok(s, digest):
        raise IrodsError(codes.CAT_INVALID_AUTHENTICATION, "wrong password")
    return Reply()
