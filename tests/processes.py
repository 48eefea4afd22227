"""The daemon as a real process."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import warm

ROOT = Path(__file__).resolve().parents[1]

#: Seconds that anything may take on a busy machine.
PATIENCE = 600.0


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Return once the condition holds; fail with ``what`` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.02)


def environment() -> dict[str, str]:
    """This process's environment, with the project importable from anywhere."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def opened() -> set[str]:
    """What this process has open, each descriptor with its file, once all is closed that awaits the collector."""
    gc.collect()
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            found.add(f"{entry.name}: {entry.readlink()}")
    return found


def is_alive(pid: int) -> bool:
    """Whether a process still runs; one that only waits to be reaped does not."""
    return (fields := _fields(pid)) is not None and fields[0] != "Z"


def ticks(pid: int) -> int:
    """The processor time a process has used, in 1/100 s."""
    return sum(map(int, fields[11:13])) if (fields := _fields(pid)) is not None else 0


#: Ticks after which a decoder, which sleeps otherwise, is at work on a large image.
AT_WORK = 8


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = [(int(entry.name), _fields(int(entry.name))) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child, fields in found if fields is not None and int(fields[1]) == pid and fields[0] != "Z"]


def family(pid: int) -> list[int]:
    """A process and all that it has started, and those have."""
    return [pid, *(each for child in children(pid) for each in family(child))]


def processes_named(name: str) -> list[int]:
    """The processes whose command lines begin with a name."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(name.encode()):
                found.append(int(entry.name))
    return found


def memory(pids: Sequence[int]) -> int:
    """What processes take together, in bytes: their own and their shares of what is shared (PSS)."""
    return sum(map(_pss, pids))


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def descriptors(pids: Sequence[int]) -> int:
    """How many descriptors processes have open."""
    count = 0
    for pid in pids:
        with suppress(OSError):
            count += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return count


def _fields(pid: int) -> list[str] | None:
    """What the kernel tells of a process, from its state on; None where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


#: What starts a daemon afresh, as a user does. Without a command it is forked, see `tests.warm`.
COMMAND = (sys.executable, "-m", "daemon")


class Daemon:
    """A running daemon; ``log()`` is what it has said so far."""

    def __init__(self, folder: Path, arguments: Sequence[str], command: Sequence[str] | None = None) -> None:
        self._file = folder / "daemon.log"
        with self._file.open("ab") as log:
            forked = None
            if command is None:
                forked = warm.start(["daemon", *arguments], folder, environment(), log.fileno(), log.fileno())
            self.process = forked or subprocess.Popen(
                [*(command or COMMAND), *arguments], cwd=folder, env=environment(), stdout=log, stderr=log
            )

    def log(self) -> str:
        return self._file.read_text(encoding="utf-8", errors="replace")

    def wait_until_said(self, text: str) -> None:
        wait_for(lambda: text in self.log() or self.process.poll() is not None, f"{text!r} in:\n{self.log()}")
        assert text in self.log(), self.log()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def daemon(folder: Path, *arguments: str, command: Sequence[str] | None = None) -> Iterator[Daemon]:
    """A daemon started in ``folder``, ready; killed at the end if it still runs."""
    running = Daemon(folder, arguments, command)
    try:
        running.wait_until_said("ready;")
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def run(module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``python -m module arguments``, to its end; forked where that is possible."""
    return warm.run([module, *arguments], cwd, environment()) or start_afresh(module, *arguments, cwd=cwd)


def start_afresh(module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``python -m module arguments``, to its end, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True
    )
