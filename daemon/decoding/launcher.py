"""Daemon's side of the fork server, the small process that decoders are forked from (`daemon.decoding.forkserver`).

The fork server takes 0.2 s for its imports, and the daemon takes as long for its own. This module imports none of
these, so that a command can start the fork server first, and both go on at once.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from models.text.language import tr

_ROOT = str(Path(__file__).resolve().parents[2])
_LONGEST_ANSWER = 1024
#: Seconds to wait for an answer. The first one comes after the imports, and the machine may be busy.
ANSWER_SECONDS = 60.0


class Launcher:
    """Starts and ends decoders through a fork server, which is restarted when lost. They all end with the daemon."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decoders: set[int] = set()
        self._over = False
        self._start()

    def _start(self) -> None:
        """Start the fork server, and return before its imports are done. Raises OSError."""
        control, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.settimeout(ANSWER_SECONDS)
        with server_end, ExitStack() as failing:
            failing.callback(control.close)
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-P", "-m", "daemon.decoding.forkserver"],
                env={
                    **os.environ,
                    "PYTHONPATH": _joined(os.pathsep, _ROOT, os.environ.get("PYTHONPATH")),
                    "OPENBLAS_NUM_THREADS": "1",  # numpy's, and a process with threads is not safely forked
                    # Large pages for large pictures: 20,000 page faults fewer, and 5 % less time, for 12 MP of HEIC.
                    "GLIBC_TUNABLES": _joined(":", "glibc.malloc.hugetlb=1", os.environ.get("GLIBC_TUNABLES")),
                },
                stdin=server_end.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C and Ctrl-Z are for the daemon, also before they are ignored
            )
            failing.pop_all()
        self._control = control

    @property
    def pid(self) -> int:
        """Process id of the fork server."""
        return self._process.pid

    def begin(self, memory: int, connection: int, shared: int) -> int:
        """Start a decoder that may use ``memory`` bytes; return its process id. Raises OSError.

        It gets copies of two descriptors: its ``connection`` to the daemon and the ``shared`` memory.
        """
        request = {"memory": memory}
        with self._lock:
            answer = self._ask(request, connection, shared)
            if answer is None and not self._over:
                self._start()
                answer = self._ask(request, connection, shared)
            if answer is None:
                raise OSError(tr("it ends at once"))
            if "error" in answer:
                raise OSError(answer["error"])
            pid = int(answer["pid"])
            self._decoders.add(pid)
        return pid

    def has(self, pid: int) -> bool:
        """Whether a decoder can be used: the fork server that it came from is not known to be lost."""
        return pid in self._decoders

    def end(self, pid: int) -> int | None:
        """Kill a decoder, dead or alive; return its exit code or negative signal, None if that is not known."""
        with self._lock:
            answer = self._ask({"end": pid}) if pid in self._decoders else None
            self._decoders.discard(pid)
        return answer["status"] if answer else None

    def _ask(self, request: dict[str, int], *descriptors: int) -> dict[str, Any] | None:
        """Ask the fork server; None if it is gone. If it does not answer it is killed: no answer may come later."""
        if self._over or self._process.returncode is not None:
            return None  # after `_stop` there is nobody to ask
        try:
            socket.send_fds(self._control, [json.dumps(request).encode("ascii")], descriptors)
            message = self._control.recv(_LONGEST_ANSWER)
        except (ConnectionError, TimeoutError):
            message = b""
        if not message:
            self._stop()
            return None
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _stop(self) -> None:
        self._decoders.clear()
        self._control.close()
        self._process.kill()  # it holds nothing that would be lost
        self._process.wait()

    def shut(self) -> None:
        """End every call that waits for an answer, and start no decoder from now on."""
        self._over = True
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the fork server, and all decoders with it."""
        with self._lock:
            self._stop()


def _joined(separator: str, *parts: str | None) -> str:
    return separator.join(filter(None, parts))
