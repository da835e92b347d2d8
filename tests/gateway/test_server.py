"""Limits of the HTTP server: clients that occupy connections do not keep others out."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pacsgrid.gateway.web.bounded_server import ServerLimits
from support.certificates import make_certificates
from support.served_zones import Listening
from support.waiting import wait_until

LIMITS = ServerLimits(
    header_bytes=8192, header_seconds=0.5, stalled_seconds=0.5, connections=40, per_address=20
)
GET = b"GET /small HTTP/1.1\r\nHost: x\r\n"


async def _small(request: Request) -> Response:
    return PlainTextResponse(f"{len(request.headers)}")


async def _refused(request: Request) -> Response:
    return PlainTextResponse("no", 413)


async def _large(request: Request) -> Response:
    return StreamingResponse(b"x" * (1 << 20) for _ in range(200))


async def _sum(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


APPLICATION = Starlette(
    routes=[
        Route("/small", _small),
        Route("/large", _large),
        Route("/refused", _refused, methods=["POST"]),
        Route("/sum", _sum, methods=["POST"]),
    ]
)


@pytest.fixture(scope="module")
def server() -> Iterator[Listening]:
    with Listening(APPLICATION, LIMITS) as server:
        yield server


def connect(server: Listening, address: str = "") -> socket.socket:
    source = (address, 0) if address else None
    return socket.create_connection(("127.0.0.1", server.port), 30, source_address=source)


def ended(connection: socket.socket) -> bool:
    """Whether the server closes a connection without sending anything further."""
    connection.settimeout(20)
    with suppress(OSError):
        while connection.recv(1 << 16):
            pass
    return True


@pytest.mark.parametrize("start", [b"", b"G", GET, GET + GET], ids=range(4))
def test_idle_connections_over_the_limit_make_room_for_requests(
    server: Listening, start: bytes
) -> None:
    with ExitStack() as stack:
        for _ in range(300):
            connection = stack.enter_context(connect(server))
            with suppress(OSError):
                connection.sendall(start)
        assert requests.get(f"{server.url}/small", timeout=20).ok
        assert requests.post(f"{server.url}/sum", b"x" * 300_000, timeout=20).text == "300000"


def test_one_address_does_not_displace_others(server: Listening) -> None:
    with ExitStack() as stack:
        waiting = stack.enter_context(connect(server, "127.0.0.2"))
        for _ in range(100):
            stack.enter_context(connect(server))
        waiting.sendall(GET + b"\r\n")
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("piece", [b"X", b"X: y\r\n"], ids=range(2))
def test_a_header_has_a_deadline(server: Listening, piece: bytes) -> None:
    for before in (b"", GET + b"\r\n"):  # the first request of a connection, and the next one
        with connect(server) as connection:
            connection.sendall(before + GET)
            connection.settimeout(0.05)
            until = time.monotonic() + 30
            with suppress(ConnectionError):
                while time.monotonic() < until:
                    with suppress(TimeoutError):
                        if connection.recv(1 << 16) == b"":
                            break
                    connection.sendall(piece)
            assert time.monotonic() < until


def test_a_header_has_a_size(server: Listening) -> None:
    for head in (
        b"GET /small?" + b"x" * 20_000,
        GET + b"X: " + b"y" * 20_000,
        GET + b"X: y\r\n" * 5_000,
    ):
        with connect(server) as connection:
            connection.sendall(head)
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
            assert ended(connection)


def test_the_body_of_a_refused_request_has_a_deadline(server: Listening) -> None:
    head = b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(head)
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")
        assert ended(connection)


def test_a_client_that_reads_nothing_is_cut_off(server: Listening) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(100)
        wait_until(lambda: not server.connections(), what="that the server cuts it off")
        connection.settimeout(20)
        size = 0
        with suppress(ConnectionError):
            while piece := connection.recv(1 << 20):
                size += len(piece)
        assert size < 200 << 20


def test_a_slow_client_receives_the_whole_answer(server: Listening) -> None:
    with requests.get(f"{server.url}/large", stream=True, timeout=20) as answer:
        assert sum(len(piece) for piece in answer.iter_content(1 << 18)) == 200 << 20


def test_connections_are_used_again_and_again(server: Listening) -> None:
    with requests.Session() as session:
        for _ in range(100):
            assert session.get(f"{server.url}/small", timeout=20).ok
    with connect(server) as connection:
        connection.sendall((GET + b"\r\n") * 3)
        wait_until(lambda: connection.recv(1 << 16, socket.MSG_PEEK).count(b"200 OK") == 3)


def test_handshakes_that_are_never_finished_make_room_too(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    options = {"ssl_certfile": certificates.server, "ssl_keyfile": certificates.server_key}
    with Listening(APPLICATION, LIMITS, **options) as server, ExitStack() as stack:
        for start in (b"", b"\x16\x03\x01"):
            for _ in range(100):
                connection = stack.enter_context(connect(server))
                with suppress(OSError):
                    connection.sendall(start)
        context = ssl.create_default_context(cafile=str(certificates.authority))
        with context.wrap_socket(connect(server), server_hostname="localhost") as secure:
            secure.sendall(GET + b"\r\n")
            assert secure.recv(100).startswith(b"HTTP/1.1 200")
