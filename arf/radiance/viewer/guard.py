"""Who is answered by the viewer's server, and with what.

A browser lets any page of the web talk to a server on this machine, so that a viewer must tell its own page from the
others: by the Host that a request is addressed to (another name that leads here is DNS rebinding), and by the Origin
of whatever opens a websocket. Of the disk only the files of viser's client are given out, each under its one name.
"""

from __future__ import annotations

import ipaddress
import mimetypes
import re
import socket
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from arf.errors import UserError

Answer = tuple[HTTPStatus, list[tuple[str, str]], bytes]  # status, headers, body

TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm"}
# viser's page evaluates text of its own, and some versions of it load a counter of visitors: nothing foreign is let in
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: blob: ws://{host}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Headers(Protocol):
    """As both of the websockets library's servers give them; names are of any case."""

    def __contains__(self, name: str) -> bool: ...

    def get_all(self, name: str) -> list[str]: ...


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there, and nowhere else.

    Raises:
        UserError: the port does not exist, is in use or not allowed, or the host is not this machine's.
    """
    if not 1 <= port <= 65535:
        raise UserError(f"port is {port}; it must be between 1 and 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        server = socket.socket(family, kind, protocol)
        try:
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where another program could listen there as well
                server.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:  # or a viewer that has just been closed blocks the port for a minute
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen()
        except OSError:
            server.close()
            raise
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"the viewer cannot listen at {host}:{port} ({why}); try another --port or --host") from error
    return server


def check_port(host: str, port: int) -> None:
    """Raises UserError now where the viewer could not `listen` after a scene has been opened for minutes."""
    listen(host, port).close()


class Guard:
    """Answers the requests that come to an address.

    A Host must be that address. Where it is one of this machine alone, localhost, 127.0.0.1 and [::1] all stand for it.
    Where others may come in, any numeric address will do, since none can be rebound, and of names only `host` itself,
    localhost and the machine's own. The Origin of a websocket must be there and be http://Host: programs that are no
    browsers have to say so as well.

    Attributes:
        url: under which a browser on this machine finds it.
    """

    def __init__(self, host: str, server: socket.socket, files: Path) -> None:
        """
        Args:
            host: as the user named it.
            server: listens there.
            files: folder of which every file may be read by anybody.
        """
        address, self._port = server.getsockname()[:2]
        address = ipaddress.ip_address(address.partition("%")[0])
        own = socket.gethostname().lower()
        self._names = {"localhost", _bracketed(host.lower())}
        self._names |= {"127.0.0.1", "[::1]"} if address.is_loopback else {own, f"{own}.local"}
        self._numeric = not address.is_loopback
        self._files = {f"/{file.relative_to(files).as_posix()}": file for file in files.rglob("*") if file.is_file()}
        self._files["/"] = self._files["/index.html"]
        self.url = f"http://{'localhost' if address.is_unspecified else _bracketed(host)}:{self._port}"

    def answer(self, target: str, headers: Headers) -> Answer | None:
        """The response to a request, or None where a websocket may be opened."""
        hosts = [host.lower() for host in headers.get_all("Host")]
        if len(hosts) != 1 or not self.is_ours(hosts[0]):
            return _refusal(HTTPStatus.FORBIDDEN, f"This viewer answers at {self.url} only.")
        if "Upgrade" in headers:
            origins = [origin.lower() for origin in headers.get_all("Origin")]
            if origins == [f"http://{hosts[0]}"]:
                return None
            return _refusal(HTTPStatus.FORBIDDEN, "This viewer is for its own page only.")
        file = self._files.get(target.partition("?")[0])
        if file is None:
            return _refusal(HTTPStatus.NOT_FOUND, "There is no such file.")
        kind = TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        policy = ("Content-Security-Policy", POLICY.format(host=hosts[0]))
        return _response(HTTPStatus.OK, file.read_bytes(), kind, [policy])

    def is_ours(self, host: str) -> bool:
        """Whether a Host header, in lower case, names this server."""
        match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:\[\]/@\s]+)(?::(\d{1,5}))?", host)
        if match is None or int(match[2] or 80) != self._port:
            return False
        return match[1] in self._names or (self._numeric and _is_numeric(match[1]))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_numeric(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _refusal(status: HTTPStatus, why: str) -> Answer:
    return _response(status, f"{why}\n".encode(), "text/plain", [])


def _response(status: HTTPStatus, body: bytes, kind: str, headers: Iterable[tuple[str, str]]) -> Answer:
    kind = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
    shared = [("Content-Type", kind), ("Content-Length", str(len(body))), ("X-Content-Type-Options", "nosniff")]
    return status, [*shared, ("Connection", "close"), *headers], body
