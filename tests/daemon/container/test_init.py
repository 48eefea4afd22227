"""The first process of a container: signals reach the command, orphans are reaped, and its exit code is passed on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import environment, wait_for

#: Makes the process the parent of all orphans, as process 1 is: PR_SET_CHILD_SUBREAPER.
_AS_FIRST = "import ctypes, sys; ctypes.CDLL(None).prctl(36, 1); from daemon.container.init import run; "


def start(*command: str) -> subprocess.Popen[str]:
    code = f"{_AS_FIRST}sys.exit(run({list(command)!r}))"
    return subprocess.Popen([sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 128 + 9)])
def test_it_ends_as_the_command_does(script: str, code: int) -> None:
    with start("sh", "-c", script) as process:
        assert process.wait(120) == code


def test_signals_reach_the_command_and_orphans_are_reaped() -> None:
    script = "trap 'echo told; exit 5' TERM; sh -c 'sleep 0.1 & echo $!'; echo ready; while :; do sleep 0.05; done"
    with start("sh", "-c", script) as process:
        assert process.stdout is not None
        orphan = process.stdout.readline().strip()
        assert process.stdout.readline() == "ready\n"
        wait_for(lambda: not Path(f"/proc/{orphan}").exists(), "the orphan is reaped", 120)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "told\n"
        assert process.wait(120) == 5


def test_a_command_that_is_not_there_is_told() -> None:
    with start("/no/such/program") as process:
        assert process.wait(120) == 127
