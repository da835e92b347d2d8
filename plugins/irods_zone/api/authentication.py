"""Native authentication: the way of iRODS 5 and the older one."""

from __future__ import annotations

import base64
import binascii

from ..api_messages import Reply, Request, json_reply
from ..api_numbers import Api
from ..api_registry import handles
from ..authentication import authenticate
from ..challenge_response import new_challenge
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..session import Session
from ..xml_structures import pack


@handles(Api.AUTHENTICATION_APN)
def _authentication(session: Session, request: Request) -> Reply:
    """Challenge the client or check its answer, as iRODS 5 clients ask for it."""
    data = request.json()
    step = data.get("next_operation")
    if step == "auth_agent_auth_request":
        session.challenge = new_challenge()
        data["request_result"] = session.challenge.decode()
    elif step == "auth_agent_auth_response":
        authenticate(session, _decode(str(data.get("digest", ""))))
    else:
        raise IrodsError(ErrorCode.SYS_INVALID_INPUT_PARAM, "unknown step of authentication")
    return json_reply(data)


@handles(Api.AUTH_REQUEST_AN)
def _auth_request(session: Session, request: Request) -> Reply:
    """Challenge the client."""
    session.challenge = new_challenge()
    text = base64.b64encode(session.challenge).decode()
    return Reply(0, pack("authRequestOut_PI", challenge=text))


@handles(Api.AUTH_RESPONSE_AN)
def _auth_response(session: Session, request: Request) -> Reply:
    """Check the answer to the challenge."""
    authenticate(session, _decode(request.node.get("response")))
    return Reply()


def _decode(text: str) -> bytes:
    """Return the bytes of an answer; nothing, which is never right, if it is malformed."""
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""
