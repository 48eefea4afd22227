"""Start our programs from processes that have imported them already.

``python -m daemon`` takes most of a second of a processor for its imports, ``python -m trainer`` two, and the tests
start hundreds of them. A server for each package, ``python -m tests.warm PACKAGE DESCRIPTOR``, imports it once, and
forks its programs while it has one thread: each is a process of its own, with its own arguments, folder, environment
and standard streams, and ends as any other. Those of the trainer draw no figures, which takes longer than a small fit.
"""

from __future__ import annotations

import atexit
import gc
import io
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, NamedTuple

ROOT = Path(__file__).resolve().parents[1]

#: What each package is likely to import. Its ``__main__`` is not among them: it is run.
IMPORTS = {
    "daemon": (
        "daemon.commands.watch",
        "daemon.commands.sort",
        "daemon.service",
        "models.inference.runtime",
        "onnxruntime",
    ),
    "trainer": ("trainer.fit", "trainer.evaluate", "trainer.learn", "trainer.options", "onnxruntime"),
}
#: Variables that may differ from those that a server was started with: they are read when they are needed. Others are
#: for the interpreter, the C library or the time zone, and are read at the start.
READ_LATE = (
    *("IMAGESORTD_", "XDG_", "HF_", "TORCH_HOME", "LANGUAGE", "HOME", "PYTEST_", "SUDO_USER"),
    *("STATE_DIRECTORY", "CACHE_DIRECTORY", "RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_"),
    "KMP_",  # scikit-learn sets some where it is imported
)
#: Set where tests run; benchmarks, which measure programs, start them afresh.
_is_on = False
#: The longest request: arguments and environment.
_LONGEST = 1 << 17


def use() -> None:
    """Fork programs from now on."""
    global _is_on
    _is_on = True


class Process:
    """A program that was forked: what `subprocess.Popen` has of it."""

    def __init__(self, arguments: Sequence[str], status: int) -> None:
        """``status``: the server writes its number there, and how it ended."""
        self.args = list(arguments)
        self.returncode: int | None = None
        self._status = os.fdopen(status, "rb", buffering=0)
        first = self._line()
        assert first is not None, "the server of programs is gone"
        self.pid = first

    def poll(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None while it runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _end(self) -> None:
        ended = self._line()
        assert ended is not None, "the server of programs is gone"
        self.returncode = ended
        self._status.close()

    def _line(self) -> int | None:
        line = self._status.readline()
        return int(line) if line else None


def start(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], out: int, error: int) -> Process | None:
    """Start ``python -m`` with these arguments; None where that takes an interpreter of its own."""
    if not _is_on or arguments[0] not in IMPORTS or not (server := _server(arguments[0])).suits(environment):
        return None
    return server.start(arguments, cwd, environment, out, error)


def run(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str] | None:
    """``python -m arguments``, to its end; None as for `start`."""
    with ExitStack() as stack:
        outputs, inputs = [], []
        for _ in range(2):
            read_end, write_end = os.pipe()
            outputs.append(stack.enter_context(os.fdopen(read_end, "rb", buffering=0)))
            inputs.append(stack.enter_context(os.fdopen(write_end, "wb", buffering=0)))
        process = start(arguments, cwd, environment, *(file.fileno() for file in inputs))
        if process is None:
            return None
        for file in inputs:
            file.close()
        said = _read_all(outputs)
        return subprocess.CompletedProcess(process.args, process.wait(), *(_decoded(each) for each in said))


def _read_all(files: Sequence[IO[bytes]]) -> list[bytes]:
    """Read each to its end, whichever has something."""
    said = [b""] * len(files)
    with selectors.DefaultSelector() as selector:
        for number, file in enumerate(files):
            selector.register(file, selectors.EVENT_READ, number)
        while selector.get_map():
            for key, _ in selector.select():
                piece = os.read(key.fd, 1 << 16)
                said[key.data] += piece
                if not piece:
                    selector.unregister(key.fileobj)
    return said


def _decoded(said: bytes) -> str:
    """As `subprocess` does with ``text=True``."""
    return io.TextIOWrapper(io.BytesIO(said)).read()


class _Server:
    """Our end of a server."""

    def __init__(self, package: str) -> None:
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._control, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with server_end:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.warm", package, str(server_end.fileno())],
                env=self._environment,
                cwd=ROOT,
                pass_fds=[server_end.fileno()],
            )
        atexit.register(self._close)

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Whether a program with this environment may be forked from it."""
        differing = dict(set(environment.items()) ^ set(self._environment.items()))
        return all(name.startswith(READ_LATE) for name in differing)

    def start(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], out: int, error: int
    ) -> Process:
        request = {"arguments": list(arguments), "cwd": str(cwd), "environment": dict(environment), "umask": _umask()}
        read_end, write_end = os.pipe()
        try:
            socket.send_fds(self._control, [json.dumps(request).encode("ascii")], [out, error, write_end])
        finally:
            os.close(write_end)
        return Process(arguments, read_end)

    def _close(self) -> None:
        self._control.close()
        self._process.wait()


@cache
def _server(package: str) -> _Server:
    return _Server(package)


def _umask() -> int:
    """The mask of new files, which is not to be changed for a moment: other threads make files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1], 8) for line in lines if line.startswith("Umask:")), 0o022)


class _Request(NamedTuple):
    """A program to start, and the ends of pipes that are its own: standard output, standard error, and its status."""

    arguments: list[str]
    cwd: str
    environment: dict[str, str]
    umask: int
    descriptors: list[int]


def _serve(control: socket.socket) -> _Request:
    """Fork a program for each request, and say how it ended. Returns in those that were forked."""
    running: dict[int, tuple[int, int]] = {}
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is control:
                message, descriptors, _, _ = socket.recv_fds(control, _LONGEST, 3)
                if not message:
                    os._exit(0)
                request = _Request(**json.loads(message), descriptors=descriptors)
                pid = os.fork()
                if pid == 0:
                    selector.close()
                    control.close()
                    for descriptor, (_, status) in running.items():
                        os.close(descriptor)
                        os.close(status)
                    return request
                *others, status = descriptors
                for descriptor in others:
                    os.close(descriptor)
                os.write(status, b"%d\n" % pid)
                descriptor = os.pidfd_open(pid)
                running[descriptor] = pid, status
                selector.register(descriptor, selectors.EVENT_READ)
            else:
                pid, status = running.pop(key.fd)
                selector.unregister(key.fd)
                os.close(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with suppress(BrokenPipeError):  # the test did not wait for it
                    os.write(status, b"%d\n" % code)
                os.close(status)


def _become(request: _Request, added: Mapping[str, str]) -> None:
    """Run the program as if an interpreter had been started for it."""
    out, error, status = request.descriptors
    os.dup2(out, 1)
    os.dup2(error, 2)
    for descriptor in (out, error, status):
        os.close(descriptor)
    # Those of the server know whether one can seek in what they had.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update({**added, **request.environment})
    os.umask(request.umask)
    os.chdir(request.cwd)
    package, *arguments = request.arguments
    sys.argv[1:] = arguments
    sys.orig_argv[1:] = ["-m", package, *arguments]
    runpy.run_module(package, run_name="__main__", alter_sys=True)


def main(package: str, descriptor: str) -> None:
    """Import the package, and fork its programs until the tests are over."""
    control = socket.socket(fileno=int(descriptor))
    before = dict(os.environ)
    for name in IMPORTS[package]:
        import_module(name)
    if package == "trainer":
        vars(import_module("trainer.reports.report"))["draw_figures"] = lambda *_: None
    added = dict(os.environ.items() - before.items())
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a process with threads is not safely forked"
    gc.collect()
    gc.freeze()
    _become(_serve(control), added)


if __name__ == "__main__":
    main(*sys.argv[1:])
