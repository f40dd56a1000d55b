"""A small server for pages on this machine: nobody else reaches it, and nobody who was not told its address."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import BoundedSemaphore, Thread
from typing import Any
from urllib.parse import parse_qsl

HOST = "127.0.0.1"
MOST_BYTES = 400_000
"""Of one question."""
SECONDS = 30
"""A client that says nothing for so long is left."""
Asked = Callable[[Mapping[str, str], bool], "Reply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is sent back."""

    body: str
    kind: str = "text/html"
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One address of a server.

    get           what is shown
    post          (fields, whether JSON is wanted) -> what is answered
    most_waiting  questions at once; more of them are told to come back
    """

    get: Callable[[], Reply] | None = None
    post: Asked | None = None
    most_waiting: int = 8


class Local:
    """A server that runs until it is closed.

    url  its address, which holds a word that cannot be guessed
    """

    def __init__(
        self, pages: Mapping[str, Page], rules: str, port: int = 0, at_end: Callable[[], object] | None = None
    ) -> None:
        """Pages by the last part of their address; rules: the policy that every page is sent with."""
        self._word = secrets.token_urlsafe(24)
        self._at_end = at_end
        self._server = _Server((HOST, port), _handler(pages, rules, self._word))
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), name="pellucid-page", daemon=True)
        self._thread.start()
        self.url = f"http://{HOST}:{self._server.server_address[1]}/{self._word}/"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url if self._thread.is_alive() else 'closed'})"

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def wait(self) -> None:
        """Stay until the page is closed by somebody else, or the program is interrupted; then close it."""
        try:
            self._thread.join()
        finally:
            self.close()

    def close(self) -> None:
        """Take the page away; a question that is being answered is answered first. Twice does no harm."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        if self._at_end is not None:
            self._at_end()


class _Server(ThreadingHTTPServer):
    """A server that looks up no names and keeps silent about clients that have gone."""

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def policy(*, script: str, style: str) -> str:
    """What a page may do: run this script, use this style, ask its own server; nothing else."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _handler(pages: Mapping[str, Page], rules: str, word: str) -> type[BaseHTTPRequestHandler]:
    doors = {name: BoundedSemaphore(page.most_waiting) for name, page in pages.items()}

    class Handler(BaseHTTPRequestHandler):
        """One question."""

        timeout = SECONDS
        server_version, sys_version = "pellucid", ""

        def log_message(self, format: str, *args: Any) -> None:
            """The address holds the word: it is written nowhere."""

        def do_GET(self) -> None:
            page = self._page()
            if page is not None and page[1].get is not None:
                self._send(page[1].get())
            elif page is not None:
                self._send(_said(405, "ask with POST"))

        def do_POST(self) -> None:
            page = self._page()
            if page is None:
                return
            name, (post, fields) = page[0], (page[1].post, self._fields())
            if post is None:
                self._send(_said(405, "ask with GET"))
            elif isinstance(fields, Reply):
                self._send(fields)
            elif not doors[name].acquire(blocking=False):
                self._send(_said(503, "too many questions at once"))
            else:
                try:
                    self._send(post(fields, self._speaks_json()))
                finally:
                    doors[name].release()

        def _page(self) -> tuple[str, Page] | None:
            """The page of the address; None after a refusal: another host's name, origin or word."""
            port = self.connection.getsockname()[1]
            hosts = {f"{HOST}:{port}", f"localhost:{port}"}
            if self.headers.get("Host") not in hosts:
                return self._send(_said(421, "another host"))
            origin = self.headers.get("Origin")
            if origin not in (None, "null") and origin not in {f"http://{host}" for host in hosts}:
                return self._send(_said(403, "another origin"))
            given, _, name = self.path.lstrip("/").partition("/")
            if not hmac.compare_digest(given.encode(), word.encode()) or name not in pages:
                return self._send(_said(404, "nothing here"))
            return name, pages[name]

        def _speaks_json(self) -> bool:
            return self.headers.get_content_type() == "application/json"

        def _fields(self) -> dict[str, str] | Reply:
            said = self.headers.get("Content-Length", "")
            if not said.isdigit() or len(said) > 9 or int(said) > MOST_BYTES:
                return _said(413, f"at most {MOST_BYTES} bytes")
            raw = self.rfile.read(int(said))
            try:
                text = raw.decode()
                pairs = json.loads(text).items() if self._speaks_json() else parse_qsl(text, keep_blank_values=True)
                return {str(key): value for key, value in pairs if isinstance(value, str)}
            except (ValueError, AttributeError, RecursionError):
                return _said(400, "no fields that can be read")

        def _send(self, reply: Reply) -> None:
            body = reply.body.encode("utf-8", "replace")
            self.send_response(reply.status)
            for name, value in (
                ("Content-Type", f"{reply.kind}; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("Content-Security-Policy", rules),
                ("X-Content-Type-Options", "nosniff"),
                ("Referrer-Policy", "no-referrer"),
                ("Cross-Origin-Resource-Policy", "same-origin"),
                ("Cache-Control", "no-store"),
            ):
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # whoever asked has gone

    return Handler


def _said(status: int, text: str) -> Reply:
    return Reply(body=text, kind="text/plain", status=status)
