"""One description of an association serves pynetdicom's requestor and our own."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

import pytest
from pynetdicom import build_context
from pynetdicom.sop_class import Verification

from pacsgrid.dimse import pdu, pynetdicom_requestor, requestor
from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.dimse.exceptions import AssociationRejectedError, ConnectionLostError
from pacsgrid.dimse.pdu import AssociateRequest, ProposedContext, parse_request
from pacsgrid.dimse.presentation_contexts import IMPLICIT, VERIFICATION
from pacsgrid.dimse.stream import Stream


@pytest.mark.parametrize(
    ("user", "password", "item"),
    [
        ("", "", b""),
        ("eva", "", b"\x58\0\0\x09\x01\0\0\x03eva\0\0"),
        ("éva", "heslo", b"\x58\0\0\x0f\x02\0\0\x04\xc3\xa9va\0\x05heslo"),
    ],
)
def test_a_user_is_the_same_item_for_both(user: str, password: str, item: bytes) -> None:
    settings = AssociationSettings("pacs", 104, "PACS", "US", user=user, password=password)
    assert settings.encoded_user_identity() == item
    assert (settings.user_identity() is None) is not user
    assert "heslo" not in repr(settings)


class Rejecting:
    """Takes one request and rejects it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.data = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener, self._listener.accept()[0] as connection:
            stream = Stream(connection, 20.0)
            with suppress(ConnectionLostError):
                (length,) = struct.unpack(">2xI", stream.read_exactly(6))
                self.data = stream.read_exactly(length)
                stream.send_last(pdu.encode_reject(1, 1, 3))

    def request(self) -> AssociateRequest:
        self._thread.join(20)
        return parse_request(self.data)


@pytest.mark.parametrize("own", [True, False])
def test_both_request_what_the_settings_say(own: bool) -> None:
    peer = Rejecting()
    settings = AssociationSettings(
        "127.0.0.1", peer.port, "PACS", "US", user="eva", password="heslo", max_pdu=65536
    )
    if own:
        contexts = [ProposedContext(1, VERIFICATION, (IMPLICIT,))]
        with (
            pytest.raises(AssociationRejectedError) as caught,
            requestor.open_association(settings, contexts),
        ):
            pass
        assert (caught.value.result, caught.value.source, caught.value.reason) == (1, 1, 3)
    else:
        proposed = [build_context(Verification, IMPLICIT)]
        with pynetdicom_requestor.open_association(settings, proposed) as association:
            assert association.is_rejected
    request = peer.request()
    assert (request.called, request.calling, request.max_pdu) == ("PACS", "US", 65536)
    assert request.contexts == (ProposedContext(1, VERIFICATION, (IMPLICIT,)),)
    assert settings.encoded_user_identity() in peer.data
