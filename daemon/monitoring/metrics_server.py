"""Serve the metrics to clients on this machine: a loopback port or a UNIX socket, off by default."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from loguru import logger

from daemon.config.addresses import host_and_port
from models.errors import UserError
from models.text.language import tr

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Seconds that a client may take; it blocks the others meanwhile.
_TIMEOUT_S = 5.0


class MetricsListener:
    """Answers ``GET /metrics`` on a thread of its own, which sleeps until a client connects.

    Raises `UserError` when it cannot listen there.
    """

    def __init__(self, address: str, text: Callable[[], str]) -> None:
        self._path = Path(address) if address.startswith("/") else None
        try:
            self._server = self._open(address, text)
        except OSError as error:
            raise UserError(
                tr(
                    "metrics_listen: cannot listen on {address} ({reason}): give another address",
                    address=address,
                    reason=error.strerror,
                )
            ) from error
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Port it listens on; only with HOST:PORT."""
        return int(self._server.server_address[1])

    def _open(self, address: str, text: Callable[[], str]) -> socketserver.TCPServer:
        handler = type("Handler", (_Handler,), {"text": staticmethod(text)})
        if self._path is None:
            host, port = host_and_port(address)
            return (_Server6 if ":" in host else _Server)((host, port), handler)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_socket() and not _answers(self._path):
            self._path.unlink()  # of a daemon that was killed
        server = _UnixServer(str(self._path), handler)  # type: ignore[arg-type]
        self._path.chmod(0o666)  # numbers for whoever may enter the folder
        return server

    def _serve(self) -> None:
        while not self._closing:
            with suppress(OSError, ValueError):  # of `close`, which ends it
                self._server.handle_request()

    def close(self) -> None:
        """Stop listening."""
        self._closing = True
        with suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(2 * _TIMEOUT_S)
        self._server.server_close()
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(str(path))
        except OSError:
            return False
        return True


class _Handler(BaseHTTPRequestHandler):
    text: Callable[[], str]
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        if self.path.split("?")[0] not in ("/", "/metrics"):
            self.send_error(404)
            return
        body = self.text().encode("utf-8", "replace")
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        logger.debug("metrics: {}", format % args)


class _Server(socketserver.TCPServer):
    allow_reuse_address = True

    def handle_error(self, *_: object) -> None:
        logger.debug("metrics: client disconnected")


class _Server6(_Server):
    address_family = socket.AF_INET6


class _UnixServer(_Server):
    address_family = socket.AF_UNIX
    allow_reuse_address = False

    def get_request(self) -> tuple[socket.socket, Any]:
        request, _ = super().get_request()
        return request, ("", 0)  # http.server wants to name the client
