"""Run a piece of work in a child process under strace, which kills it or makes a call fail at a chosen point.

The child is forked from this process, with everything imported, and attached to while it waits: the calls that are
counted are those of the work and of nothing else. A point is (call, k): the k-th time that call is made.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from loguru import logger

#: Every call that reads, writes or names files. With "?" a machine that lacks one does not mind.
CALLS = (
    "openat", "read", "pread64", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "close",
    "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat",
    "fchown", "fchmod", "utimensat", "fsetxattr", "flistxattr", "fadvise64",
)  # fmt: skip
_SET = ",".join(f"?{call}" for call in CALLS)
_LINE = re.compile(r"^(?:\d+ +)?([a-z_0-9]+)\(")
_PR_SET_PTRACER, _ANY = 0x59616D61, ctypes.c_ulong(-1)
_BROKE = 3


class Point(NamedTuple):
    """The ``k``-th time that ``call`` is made."""

    call: str
    k: int


@cache
def _why_not() -> str | None:
    if shutil.which("strace") is None:
        return "strace is not installed"
    try:
        lines = _run(lambda: Path("/dev/null").read_bytes(), [], "/dev/null")
    except subprocess.SubprocessError as error:
        return f"strace cannot attach here: {error}"
    return None if lines == 0 else "strace cannot attach here"


def need_strace() -> None:
    """Skip where no process can be traced."""
    reason = _why_not()
    if reason is not None:
        pytest.skip(reason)


def trace(work: Callable[[], object], log: Path) -> list[str]:
    """The lines of strace for a run that nothing disturbs."""
    assert _run(work, [], str(log)) == 0
    return log.read_text(errors="replace").splitlines()


def points(lines: list[str], among: Callable[[str], bool] = lambda line: True) -> list[Point]:
    """Every point of a traced run, in order, or those of some lines."""
    counts: Counter[str] = Counter()
    found = []
    for line in lines:
        match = _LINE.match(line)
        if match and match[1] in CALLS:
            counts[match[1]] += 1
            found += [Point(match[1], counts[match[1]])] if among(line) else []
    return found


def kill_at(point: Point, work: Callable[[], object]) -> bool:
    """Kill the work when it is about to make the call; False when it came to its end before."""
    return _run(work, ["-e", f"inject={point.call}:signal=KILL:when={point.k}"]) == -signal.SIGKILL


def fail_at(point: Point, error: str, work: Callable[[], object]) -> None:
    """Let the call fail with an error such as EIO; the work must bear it."""
    code = _run(work, ["-e", f"inject={point.call}:error={error}:when={point.k}"])
    assert code == 0, f"{error} at {point} was not borne"


def _run(work: Callable[[], object], options: list[str], log: str = "/dev/null") -> int:
    """The exit status of the child, negative for a signal."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # the child waits for it
    ready, end = os.pipe()
    child = os.fork()
    if child == 0:
        _work_and_exit(work, end)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)  # other tests send it, too
    os.close(end)
    os.read(ready, 1)  # its end: what libraries do after a fork, such as closing fonts, is over then
    os.close(ready)
    command = ["strace", "-f", "-a1", "-s200", "-y", "-o", log, "-e", f"trace={_SET}", *options, "-p", str(child)]
    strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert strace.stderr is not None
    attached = strace.stderr.readline()
    os.kill(child, signal.SIGUSR1 if "attached" in attached else signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    strace.communicate(timeout=300)
    if "attached" not in attached:
        raise subprocess.SubprocessError(attached.strip())
    return os.waitstatus_to_exitcode(status)


def _work_and_exit(work: Callable[[], object], end: int) -> None:
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)
        logger.remove()
        gc.disable()
        os.close(end)
        signal.sigwait({signal.SIGUSR1})
        work()
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
        os._exit(_BROKE)
    os._exit(0)
