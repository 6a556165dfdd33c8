"""A conversation on a web page, for the browser of this machine alone.

The server is Python's own. It binds 127.0.0.1, where nobody but this machine's users can reach it, and keeps nothing:
a page sends all turns of its conversation. Since any page that the browser shows can send requests to 127.0.0.1, those
are refused that are not for a name of this machine (DNS rebinding), come from another site's page, or are no JSON
(which another site's page may not send unasked).
"""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from electra_jax.errors import UserError
from electra_jax.files.json_files import parse_json

ADDRESS = "127.0.0.1"
_NAMES = {"127.0.0.1", "localhost", "::1"}
_MAX_BODY = 1 << 20  # as page.js has it
# Of a request that is refused so much is read, so that a browser which is still sending it reads the answer, too.
_MAX_UNREAD = 1 << 26
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
# The page may load what this server has, and nothing else; no other page may show it in itself.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

# From the turns of a conversation to what the page shows of the reply.
Answer = Callable[[list[Any]], Mapping[str, Any]]


class ChatServer:
    """Serves one page, and the replies that it asks for, one after the other."""

    def __init__(self, port: int):
        """Take a port; nothing is answered before `serve`.

        Args:
            port: of 127.0.0.1; 0: any that is free.

        Raises:
            UserError: it is no port, is in use, or may not be used.
        """
        if not 0 <= port <= 65535:
            raise UserError(f"{port} is no port: give a number from 0 to 65535, such as 8000")
        try:
            self._server = ThreadingHTTPServer((ADDRESS, port), _Handler)
        except OSError as error:
            why = {
                errno.EADDRINUSE: "is in use: give another, or end what listens there",
                errno.EACCES: "may not be used by this user: give one above 1023",
            }.get(error.errno or 0, f"cannot be used: {error.strerror}")
            raise UserError(f"port {port} of {ADDRESS} {why}") from None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self._server.server_address[1]}/"

    def serve(self, answer: Answer) -> None:
        """Answer until `close` is called in another thread, or a signal ends the process.

        Args:
            answer: to the turns of a conversation, never called twice at a time; what it refuses is a `UserError`.
        """
        one_at_a_time = threading.Lock()

        def locked(turns: list[Any]) -> Mapping[str, Any]:
            with one_at_a_time:
                return answer(turns)

        self._server.answer = locked  # type: ignore[attr-defined]
        try:
            self._server.serve_forever()
        finally:
            self._server.server_close()

    def close(self) -> None:
        """End `serve`, which runs in another thread."""
        self._server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server_version, sys_version = "electra_jax", ""
    timeout = 60  # seconds for a browser to say what it wants

    def handle(self) -> None:
        """Answer, unless whoever asks is gone."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        """Send the page, or a file of it."""
        if not self._is_own():
            return self._refuse(
                HTTPStatus.FORBIDDEN, "this server answers the browser of its own machine alone"
            )
        if self.path not in _FILES:
            return self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
        name, kind = _FILES[self.path]
        self._send(HTTPStatus.OK, kind, files("electra_jax.chat").joinpath(name).read_bytes())

    def do_POST(self) -> None:
        """Send the reply to the turns of a conversation."""
        length = self.headers.get("Content-Length", "")
        if refused := self._problem(length):
            self._refuse(*refused)
            self._read_unread(length)
            return
        try:
            said = parse_json(self.rfile.read(int(length)), "the request", "send turns")
            if not isinstance(said, dict) or not isinstance(said.get("turns"), list):
                raise UserError('the request has no list "turns"')
            self._send_json(HTTPStatus.OK, self.server.answer(said["turns"]))  # type: ignore[attr-defined]
        except UserError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except ConnectionError:
            raise
        except Exception as error:
            self._refuse(
                HTTPStatus.INTERNAL_SERVER_ERROR, f"the reply failed: {type(error).__name__}: {error}"
            )
            raise  # the server writes down where, and goes on

    def _problem(self, length: str) -> tuple[HTTPStatus, str] | None:
        """Return what is wrong with a request to reply whose body is said to have this length."""
        if not self._is_own():
            return HTTPStatus.FORBIDDEN, "this server answers the browser of its own machine alone"
        if self.path != "/reply":
            return HTTPStatus.NOT_FOUND, "there is no such page"
        if self.headers.get_content_type() != "application/json":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "turns are sent as application/json"
        if not length.isdecimal() or len(length) > len(str(_MAX_BODY)) or int(length) > _MAX_BODY:
            return (
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"turns have {_MAX_BODY:,} bytes at most: begin another conversation",
            )
        return None

    def _read_unread(self, length: str) -> None:
        """Read the body of a request that is answered already."""
        unread = min(int(length), _MAX_UNREAD) if length.isdecimal() and len(length) < 20 else _MAX_UNREAD
        self.connection.settimeout(5)  # seconds
        try:
            while unread > 0 and (piece := self.rfile.read1(1 << 16)):  # type: ignore[attr-defined]
                unread -= len(piece)
        except OSError:  # it is gone, or says no more
            pass

    def _is_own(self) -> bool:
        """Return whether a request is for this machine by name, and from no other site's page."""
        origin = self.headers.get("Origin")
        hosts = [f"//{self.headers.get('Host', '')}", *([] if origin is None else [origin])]
        return all(_host_name(host) in _NAMES for host in hosts)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._send_json(status, {"error": message})

    def _send_json(self, status: HTTPStatus, value: Mapping[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        try:
            self.send_response(status)
            for name, value in {
                "Content-Type": kind,
                "Content-Length": str(len(content)),
                **_HEADERS,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):  # the page was closed meanwhile
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


def _host_name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
