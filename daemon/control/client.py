"""Speak to a running daemon over its control socket, for a command."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from daemon.control import protocol
from daemon.control.protocol import FAULT, LONGEST_LINE, PATIENCE, SILENCE, Busy, Malformed, Refused
from models.errors import UserError
from models.text.language import tr

_CHUNK = 65536
#: Seconds until a busy daemon is tried again.
_PAUSE = 0.1
#: How a connection fails where no daemon listens, or none that ends it in an orderly way.
_NOBODY = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ENAMETOOLONG,
                     errno.EPROTOTYPE, errno.ELOOP, errno.ENOTSOCK})  # fmt: skip


class NoDaemonAnswers(Exception):
    """Nobody listens at the socket, or there is none."""


class NotAdmitted(UserError):
    """This user may not use the daemon's control socket."""


class ControlClient:
    """Connection to the daemon that listens at ``path``.

    Raises `NoDaemonAnswers`, `NotAdmitted`, and `UserError` where the daemon does not understand this command, or does
    not answer in time.
    """

    def __init__(self, path: Path, *, patience: float = PATIENCE, silence: float = SILENCE) -> None:
        self.path = path
        self._silence = silence
        self._received = bytearray()
        self._calls = 0
        deadline = time.monotonic() + patience
        while True:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                self._socket.settimeout(patience)
                self._connect()
                #: Folder that the daemon files into.
                self.output = self._greet()
                return
            except (Busy, BlockingIOError) as error:
                self.close()
                if time.monotonic() >= deadline:
                    raise error if isinstance(error, Busy) else self._no_answer() from error
                time.sleep(_PAUSE)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the daemon leaves off what it does for it."""
        self._socket.close()

    def call(self, method: str, params: Mapping[str, object]) -> Generator[dict[str, object], None, dict[str, object]]:
        """Have the daemon do something: yields the items of its answer as they come, and returns the result.

        Raises `Refused`, with the sentence and the exit code that the daemon gives. Closing the generator, or Ctrl-C
        in it, ends the connection.
        """
        self._calls += 1
        is_over = False
        try:
            self._socket.settimeout(self._silence)
            self._send({"id": self._calls, "method": method, "params": dict(params)})
            while True:
                message = self._receive()
                refused = protocol.refusal(message)
                is_ours = message.get("id") == self._calls
                is_over = is_ours and (refused is not None or "result" in message)
                if refused is not None:
                    raise refused
                if not is_ours:
                    raise Refused(tr("the daemon's answer cannot be understood: see its log"), FAULT)
                if is_over:
                    return _object(message["result"])
                if "item" in message:
                    yield _object(message["item"])
        finally:
            if not is_over:
                self.close()

    def ask(self, method: str) -> dict[str, object]:
        """Call a method without parameters that has no items; returns the result. Raises like `call`."""
        calling = self.call(method, {})
        while True:
            try:
                next(calling)
            except StopIteration as end:
                return _object(end.value)

    def _connect(self) -> None:
        try:
            self._socket.connect(os.fspath(self.path))
        except TimeoutError as error:
            raise self._no_answer() from error
        except PermissionError as error:
            raise NotAdmitted(
                tr(
                    "the daemon's control socket {path} is not for this user: run this as the daemon's user or as "
                    "root, or have control_group set to a group of this user",
                    path=self.path,
                )
            ) from error
        except OSError as error:
            if error.errno in _NOBODY or str(error).startswith("AF_UNIX path too long"):
                raise NoDaemonAnswers from error
            raise

    def _greet(self) -> Path:
        self._send(protocol.command_greeting())
        first = self._receive()
        if (refused := protocol.refusal(first)) is not None:
            raise refused
        try:
            return Path(protocol.output_of(first))
        except Malformed as error:
            raise Refused(str(error)) from error

    def _send(self, message: Mapping[str, object]) -> None:
        try:
            self._socket.sendall(protocol.encode(message))
        except TimeoutError as error:
            raise self._no_answer() from error
        except (BrokenPipeError, ConnectionResetError):
            pass  # the daemon may have said why before it closed the connection
        except ValueError as error:
            raise Refused(tr("that is too much for one call: name fewer files")) from error

    def _receive(self) -> dict[str, object]:
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > LONGEST_LINE:
                raise Refused(tr("the daemon's answer cannot be understood: see its log"), FAULT)
            try:
                chunk = self._socket.recv(_CHUNK)
            except TimeoutError as error:
                raise self._no_answer() from error
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                raise self._gone()
            self._received += chunk
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        with suppress(Malformed):
            return protocol.decode(line)
        raise Refused(tr("the daemon's answer cannot be understood: see its log"), FAULT)

    def _gone(self) -> Exception:
        """Nobody has answered yet, or the daemon has ended in the middle of an answer."""
        if not self._calls:
            return NoDaemonAnswers()
        return Refused(
            tr("the daemon ended in the middle: look at its log, and run the same command again for what is left"),
            FAULT,
        )

    def _no_answer(self) -> Refused:
        return Refused(
            tr(
                "the daemon that listens at {path} does not answer: look at its log, or start it again",
                path=self.path,
            ),
            FAULT,
        )


def _object(value: object) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    raise Refused(tr("the daemon's answer cannot be understood: see its log"), FAULT)
