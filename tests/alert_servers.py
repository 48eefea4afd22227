"""Servers that take messages: HTTP as ntfy and others speak it, SMTP, and a broker of MQTT, each as small as can be."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Taken:
    """What a server was sent, as texts, and whether it answers with an error."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.error: int | None = None
        self.port = 0


@contextmanager
def http_server() -> Iterator[Taken]:
    """A server that takes JSON, as those of ntfy and of ``json://`` do."""
    taken = Taken()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if taken.error is None:
                told: dict[str, Any] = json.loads(body)
                taken.texts.append("\n".join(str(value) for value in told.values()))
            self.send_response(taken.error or 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        yield from _served(server, taken)


@contextmanager
def smtp_server() -> Iterator[Taken]:
    """A server that takes mail from anybody."""
    taken = Taken()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                match line.split()[0].upper():
                    case b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        taken.texts.append(_mail(self._content()))
                        self.wfile.write(b"250 taken\r\n")
                    case b"QUIT":
                        self.wfile.write(b"221 bye\r\n")
                        return
                    case _:
                        self.wfile.write(b"250 yes\r\n")

        def _content(self) -> bytes:
            lines = []
            for line in self.rfile:
                if line == b".\r\n":
                    break
                lines.append(line)
            return b"".join(lines)

    with _Server(("127.0.0.1", 0), Handler) as server:
        yield from _served(server, taken)


def _mail(content: bytes) -> str:
    mail = message_from_bytes(content, policy=policy.default)
    body = mail.get_body()
    assert body is not None
    return f"{mail['Subject']}\n{body.get_content()}"


@contextmanager
def mqtt_server() -> Iterator[Taken]:
    """A broker of MQTT 3.1.1 that takes messages and confirms them, and gives them to nobody."""
    taken = Taken()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while (packet := self._packet()) is not None:
                kind, payload = packet
                match kind >> 4:
                    case 1:  # CONNECT
                        self.request.sendall(b"\x20\x02\x00\x00")
                    case 3:  # PUBLISH
                        self._publish(kind, payload)
                    case 12:  # PINGREQ
                        self.request.sendall(b"\xd0\x00")
                    case 14:  # DISCONNECT
                        return

        def _packet(self) -> tuple[int, bytes] | None:
            kind = self.rfile.read(1)
            if not kind:
                return None
            length = shift = 0
            while True:
                (byte,) = self.rfile.read(1)
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return kind[0], self.rfile.read(length)

        def _publish(self, kind: int, payload: bytes) -> None:
            length = int.from_bytes(payload[:2], "big")
            rest = payload[2 + length :]
            if kind >> 1 & 3:  # at least once
                self.request.sendall(b"\x40\x02" + rest[:2])
                rest = rest[2:]
            taken.texts.append(rest.decode())

    with _Server(("127.0.0.1", 0), Handler) as server:
        yield from _served(server, taken)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


def _served(server: socketserver.TCPServer, taken: Taken) -> Iterator[Taken]:
    taken.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield taken
    finally:
        server.shutdown()
        thread.join()


@contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
