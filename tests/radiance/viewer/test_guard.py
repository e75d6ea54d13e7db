"""Whom the viewer's server answers, asked through bare sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import viser
from viser import _viser
from visitors import Visitor, free_port

from arf.errors import UserError
from arf.radiance.viewer.guard import Guard, check_port, listen
from arf.radiance.viewer.server import CLIENT, Server

SECRET = Path(viser.__file__)  # a file beside those that are served


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server("127.0.0.1", listen("127.0.0.1", free_port()))
    yield server
    server.stop()


def ask(port: int, target: str = "/", *headers: str) -> tuple[int, bytes]:
    """Status and the rest of the answer to a request of our own writing."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall("\r\n".join([f"GET {target} HTTP/1.1", *headers, "", ""]).encode("latin1"))
        answer = b""
        while b"\r\n\r\n" not in answer or (b" 101 " not in answer[:20] and b"HTTP" in answer):
            if not (more := client.recv(65536)):
                break
            answer += more
    status, _, rest = answer.partition(b"\r\n")
    return int(status.split()[1]) if status else 0, rest


def upgrade(port: int, *headers: str) -> int:
    """Status of the answer to a websocket's handshake."""
    shake = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    return ask(port, "/", *shake, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *headers)[0]


def test_the_client_is_served_and_lets_nothing_foreign_in(server):
    port = server.get_port()
    for file in CLIENT.rglob("*"):
        if file.is_file():
            status, rest = ask(port, f"/{file.relative_to(CLIENT).as_posix()}", f"Host: 127.0.0.1:{port}")
            assert status == 200
            assert rest.endswith(file.read_bytes())
    status, page = ask(port, "/?some=thing", f"Host: localhost:{port}")
    assert status == 200
    assert page.endswith((CLIENT / "index.html").read_bytes())
    policy = next(line for line in page.split(b"\r\n") if line.startswith(b"Content-Security-Policy")).decode()
    assert f"connect-src 'self' data: blob: ws://localhost:{port};" in policy
    assert "http" not in policy  # such as the counter of visitors in the page of viser 0.2.7
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "evil.example:{}"])
@pytest.mark.parametrize(
    "target",
    [
        "/../../{name}",
        "/assets/../../../{name}",
        "/%2e%2e/%2e%2e/{name}",
        "/..%2f..%2f{name}",
        "/%252e%252e/%252e%252e/{name}",
        "/..\\..\\{name}",
        "/..%5c..%5c{name}",
        "/{whole}",
        "{whole}",
        "//{whole}",
        "/%2f{whole}",
        "file://{whole}",
        "http://127.0.0.1/../../{name}",
        "../../{name}",
        "/index.html/../../../{name}",
        "/assets",
        "/./index.html",
    ],
)
def test_no_other_file_is_served(server, target, host):
    port = server.get_port()
    status, rest = ask(port, target.format(name=SECRET.name, whole=SECRET), f"Host: {host.format(port)}")
    assert status == (404 if host.startswith("127") else 403)
    assert SECRET.read_bytes()[:40] not in rest
    assert len(rest) < 1000


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (["127.0.0.1:{}"], 200),
        (["localhost:{}"], 200),
        (["LocalHost:{}"], 200),
        (["[::1]:{}"], 200),
        (["evil.example:{}"], 403),
        (["127.0.0.1.evil.example:{}"], 403),
        (["localhost:1"], 403),
        (["localhost"], 403),
        (["192.168.0.7:{}"], 403),
        (["evil.example@localhost:{}"], 403),
        ([""], 403),
        ([], 403),
        (["localhost:{}", "evil.example:{}"], 403),
    ],
)
def test_only_its_own_names_are_hosts(server, hosts, status):
    port = server.get_port()
    assert ask(port, "/", *(f"Host: {host.format(port)}" for host in hosts))[0] == status


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}"])
@pytest.mark.parametrize(
    ("origins", "status"),
    [
        (["http://{host}"], 101),
        (["http://evil.example"], 403),
        (["http://evil.example:{port}"], 403),
        (["https://{host}"], 403),
        (["http://127.0.0.1:1"], 403),
        (["http://{host}.evil.example"], 403),
        (["null"], 403),
        ([], 403),
        (["http://{host}", "http://evil.example"], 403),
    ],
)
def test_only_its_own_page_opens_a_websocket(server, host, origins, status):
    port = server.get_port()
    host = host.format(port)
    said = [f"Origin: {origin.format(host=host, port=port)}" for origin in origins]
    assert upgrade(port, f"Host: {host}", *said) == status


def test_a_rebound_name_opens_no_websocket_either(server):
    port = server.get_port()
    assert upgrade(port, f"Host: evil.example:{port}", f"Origin: http://evil.example:{port}") == 403


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("192.168.0.7:{}", True),
        ("[fe80::1]:{}", True),
        ("localhost:{}", True),
        ("{own}:{}", True),
        ("{own}.local:{}", True),
        ("192.168.0.7:1", False),
        ("evil.example:{}", False),
        ("1.2.3.4.evil.example:{}", False),
    ],
)
def test_where_others_may_come_in_only_names_are_suspicious(host, ours):
    with listen("0.0.0.0", free_port()) as listening:
        guard = Guard("0.0.0.0", listening, CLIENT)
        port = listening.getsockname()[1]
        assert guard.url == f"http://localhost:{port}"
        assert guard.is_ours(host.format(port, own=socket.gethostname().lower())) is ours


def test_a_name_that_the_user_gave_is_a_host():
    with listen("localhost", free_port()) as listening:
        guard = Guard("Studio.example", listening, CLIENT)
        assert guard.is_ours(f"studio.example:{listening.getsockname()[1]}")


def test_a_port_in_use_is_refused_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError) as refusal:
            check_port("127.0.0.1", port)
    said = str(refusal.value)
    assert said.startswith(f"the viewer cannot listen at 127.0.0.1:{port} (Address already in use)")
    assert said.endswith("try another --port or --host")
    check_port("127.0.0.1", port)


@pytest.mark.parametrize("port", [0, 70_000, -1])
def test_impossible_ports_are_refused(port):
    with pytest.raises(UserError, match=f"port is {port}; it must be between 1 and 65535"):
        check_port("localhost", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "x" * 70])  # the first is kept for documentation
def test_a_host_that_is_not_ours_is_refused(host):
    with pytest.raises(UserError, match="the viewer cannot listen at"):
        check_port(host, 7007)


def test_it_serves_where_it_was_told_and_says_nothing(capfd, monkeypatch):
    opened = []
    monkeypatch.setattr(_viser, "ViserTunnel", lambda *_: opened.append(True))
    port = free_port()
    server = Server("127.0.0.1", listen("127.0.0.1", port))
    assert server.get_port() == port
    assert server.guard.url == f"http://127.0.0.1:{port}"
    server.gui.add_button("there", hint="so that a visitor has something to wait for")
    with Visitor(port) as visitor:
        visitor.send("ShareUrlRequest")
        visitor.socket.send(b"no message")
        ask(port, "/\x00")
    with Visitor(port) as visitor:
        visitor.until(lambda: "there" in visitor.elements)
    server.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert capfd.readouterr() == ("", "")
    assert not opened  # no way in through somebody else's server
