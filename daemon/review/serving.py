"""Serve the application: on a port of this machine, or on a UNIX socket for a reverse proxy."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from daemon.control.listening import answers
from models.errors import UserError
from models.text.invocation import spelled
from models.text.language import tr

#: Connections at once, seconds until the next request of one, and until all of its head must have come or its answer
#: must have gone.
MOST_CONNECTIONS, IDLE_SECONDS, HEAD_SECONDS, SEND_SECONDS = 100, 30, 10.0, 30.0
#: Seconds in which the last answers must be ready once the server is to end.
LAST_SECONDS = 5
#: Bytes of the head of a request.
_LONGEST_HEAD = 32 << 10
_SOCKET_MODE = 0o660


class Address(NamedTuple):
    """Where to listen: ``host`` and ``port``, or the ``path`` of a UNIX socket."""

    host: str
    port: int
    path: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine reach it."""
        return self.path is not None or self.host in ("127.0.0.1", "::1", "localhost")

    @property
    def is_any(self) -> bool:
        """Whether it is every address of this machine, by which no browser can call it."""
        return self.path is None and not self.host.strip("0.:")

    @property
    def shown_host(self) -> str:
        """Return the host as an address of the web has it."""
        return f"[{self.host}]" if ":" in self.host else self.host


def parse_address(text: str) -> Address:
    """Parse ``127.0.0.1:8470``, ``[::1]:8470`` or ``unix:PATH``. Raises `UserError`."""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Address("", 0, Path(text.removeprefix("unix:")).expanduser().absolute())
    host, _, port = text.rpartition(":")
    if host and port.isascii() and port.isdecimal() and int(port) < 1 << 16:
        return Address(host.strip("[]"), int(port))
    raise UserError(tr("'{text}' is not an address to listen on: give 127.0.0.1:8470 or unix:PATH", text=text))


def with_port(host: str, port: int) -> str:
    """Return a host as the header of that name has it: with a port, unless it has one."""
    has_port = re.search(r":[0-9]+$", host) is not None
    return host if has_port else f"{host}:{port}"


def base_of(address: Address, port: int, hosts: Sequence[str]) -> str:
    """Return what a link begins with: where a proxy with TLS is called, or this server itself. Raises `UserError`."""
    if hosts:
        is_proxy = address.path is not None or not hosts[0].endswith(f":{port}")
        return f"{'https' if is_proxy else 'http'}://{hosts[0]}"
    if address.path is not None:
        raise UserError(tr("give the name that the reverse proxy has on the web: --host photos.example"))
    if address.is_any:
        example = f"--host photos.example:{port}"
        raise UserError(
            tr("give the name or address by which other machines call this one: {example}", example=example)
        )
    return f"http://{address.shown_host}:{port}"


def is_served(address: Address) -> bool:
    """Whether somebody listens at an address; one that cannot be asked counts as served."""
    if address.path is not None:
        return answers(address.path)
    try:
        socket.create_connection((address.host, address.port), timeout=2.0).close()
    except (ConnectionRefusedError, UnicodeError):  # UnicodeError: there can be no such name
        return False
    except OSError:
        return True
    return True


def listen(address: Address) -> socket.socket:
    """Listen at an address. Raises `UserError`."""
    try:
        if address.path is not None:
            return _listen_at_path(address.path)
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        # asyncio only sets TCP_NODELAY where a socket says that it is TCP.
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address.host, address.port))
            listener.listen(MOST_CONNECTIONS)
        except BaseException:
            listener.close()
            raise
        return listener
    except OSError as error:
        where = str(address.path or f"{address.shown_host}:{address.port}")
        if error.errno == errno.EADDRINUSE and (address.path is None or address.path.is_socket()):
            raise UserError(
                tr(
                    "{where} is in use, perhaps by a review page that runs already: {command} prints another link to "
                    "that; or give another address with --listen",
                    where=where,
                    command=spelled("python -m daemon review --link"),
                )
            ) from error
        raise UserError(
            tr("{where} cannot be listened at ({reason}): give another with --listen", where=where, reason=error)
        ) from error


def _listen_at_path(path: Path) -> socket.socket:
    """Listen at a UNIX socket; one that nobody listens at any more is replaced. Raises OSError."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode) and not answers(path):
            path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        before = os.umask(0o777 & ~_SOCKET_MODE)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(MOST_CONNECTIONS)
    except BaseException:
        listener.close()
        raise
    return listener


class PatientProtocol(H11Protocol):
    """HTTP for clients that may be slow, or mean to be: whoever does not send or take in time is cut off."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the library does
        """Wait for the head of the first request."""
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        self._begin(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Give a head that has begun its time; once it is whole, the application watches over the rest."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._end()
        elif self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._begin(HEAD_SECONDS)

    def pause_writing(self) -> None:
        """Wait for a client that does not take its answer."""
        super().pause_writing()
        self._begin(SEND_SECONDS)

    def resume_writing(self) -> None:
        """Go on."""
        self._end()
        super().resume_writing()

    def _begin(self, seconds: float) -> None:
        self._end()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _end(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class EndingServer(uvicorn.Server):
    """A server that gives up what takes long before it waits for its last answers."""

    def __init__(self, config: uvicorn.Config, on_end: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_end = on_end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: first whatever the answers wait for."""
        await run_in_threadpool(self._on_end)
        await super().shutdown(sockets)


def make_server(application: ASGIApp, on_end: Callable[[], None]) -> uvicorn.Server:
    """Make the server; ``run(sockets=[...])`` serves until a signal, or until ``should_exit`` is set.

    ``on_end`` is called in a thread once it is to end, and gives up what answers wait for.
    """
    options: dict[str, Any] = {"http": PatientProtocol, "ws": "none", "loop": "asyncio", "interface": "asgi3"}
    return EndingServer(
        uvicorn.Config(
            application,
            **options,
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=LAST_SECONDS,
            h11_max_incomplete_event_size=_LONGEST_HEAD,
        ),
        on_end,
    )
