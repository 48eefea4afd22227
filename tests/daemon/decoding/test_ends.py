"""Decoders end when they are told to, and with the daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from daemon.decoding.decoder import Decoder, DecoderLost
from daemon.decoding.launcher import Launcher
from daemon.decoding.pool import DecoderPool
from daemon.files.source import SourceUnreadable
from tests.daemon.decoding.conftest import LIMITS, Make, task
from tests.processes import AT_WORK, environment, is_alive, ticks, wait_for


def test_closing_ends_everything_at_once(make: Make, slow: Path) -> None:
    decoders = make(2)
    pids = decoders.pids()
    futures = [decoders.submit(task(slow)) for _ in range(6)]
    wait_for(lambda: any(ticks(pid) >= AT_WORK for pid in pids[1:]), "a decoder works")
    decoders.close()
    for future in futures:
        with pytest.raises((DecoderLost, CancelledError)):
            future.result(0)
    wait_for(lambda: not any(map(is_alive, pids)), "the processes end")


def test_closing_waits_for_no_decoder_to_begin(picture: Path, logged: list[str]) -> None:
    """The process that they are forked from may be importing still, or hang."""
    launcher = Launcher()
    os.kill(launcher.pid, signal.SIGSTOP)
    decoders = DecoderPool(2, LIMITS, launcher)
    future = decoders.submit(task(picture))
    closing = threading.Thread(target=decoders.close)
    closing.start()
    closing.join(300)
    assert not closing.is_alive()
    with pytest.raises((SourceUnreadable, CancelledError)):
        future.result(0)
    assert not is_alive(launcher.pid)
    assert logged == []


def test_between_two_images_their_numbers_are_known(make: Make, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoders = make()
    before, meanwhile = decoders.pids(), []
    is_ready = Decoder.is_ready

    def watched(decoder: Decoder, memory: int, size: int) -> bool:
        meanwhile.append(decoders.pids())
        return is_ready(decoder, memory, size)

    monkeypatch.setattr(Decoder, "is_ready", watched)
    assert decoders.submit(task(picture)).result().crops is not None
    assert meanwhile == [before]


def test_they_end_with_the_daemon(slow: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from daemon.decoding.pool import *;"
        "from daemon.decoding.decoder import *;"
        "from models.decoding.images import Transform;"
        "decoders = DecoderPool(2, Limits());"
        "exec('while len(decoders.pids()) < 3: time.sleep(0.01)');"
        "task = Task(path=Path(sys.argv[1]), transforms=[Transform(resize=64, crop=56, interpolation='bicubic',"
        " mean=(0, 0, 0), std=(1, 1, 1))] * 60, max_bytes=1 << 30, max_pixels=10**9);"
        "decoders.submit(task); print(*decoders.pids(), flush=True); time.sleep(600)"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(slow)],
        stdout=subprocess.PIPE,
        env=environment() | {"TMPDIR": str(scratch)},
        cwd=scratch,
    ) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 3
        wait_for(lambda: any(ticks(pid) >= AT_WORK for pid in pids[1:]), "a decoder works")
        process.kill()
    wait_for(lambda: not any(map(is_alive, pids)), "the processes end")
    assert list(scratch.iterdir()) == []


def test_a_nursery_that_was_started_before_is_used_and_ended(picture: Path) -> None:
    launcher = Launcher()
    decoders = DecoderPool(1, LIMITS, launcher)
    assert decoders.submit(task(picture)).result().crops is not None
    assert decoders.pids()[0] == launcher.pid
    decoders.close()
    wait_for(lambda: not is_alive(launcher.pid), "the process ends")
    launcher.close()  # once more does no harm
