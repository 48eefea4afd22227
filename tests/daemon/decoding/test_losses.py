"""What a decoder that dies or hangs costs."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
from pathlib import Path

import pytest

from daemon.decoding import decoder as client
from daemon.decoding.pool import Limits
from daemon.files.source import Identity, SourceUnreadable
from tests.daemon.decoding.conftest import Make, crash_two, reason, task, wait_until_at_work
from tests.processes import AT_WORK, is_alive, ticks, wait_for


def test_a_decoder_that_hangs_costs_one_file(make: Make, slow: Path, picture: Path) -> None:
    decoders = make(2, Limits(memory=1 << 30, seconds=5))
    before = set(decoders.pids())
    hanging = decoders.submit(task(slow))
    wait_for(lambda: any(ticks(pid) >= AT_WORK for pid in decoders.pids()[1:]), "a decoder works")
    stopped = max(decoders.pids()[1:], key=ticks)
    os.kill(stopped, signal.SIGSTOP)
    neighbours = [decoders.submit(task(picture)) for _ in range(8)]
    assert all(neighbour.result().crops is not None for neighbour in neighbours)
    decoded = hanging.result()
    assert reason(decoded) == "timeout"
    assert decoded.source is not None
    assert decoded.source.identity == Identity.from_stat(slow.stat())
    assert not is_alive(stopped)
    assert [decoders.submit(task(picture)).result().error for _ in range(4)] == [None] * 4
    assert stopped in before - set(decoders.pids())


def test_a_decoder_that_hangs_while_it_reads_blames_the_storage(
    make: Make, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "READING_SECONDS", 3.0)
    decoders = make()
    os.kill(decoders.pids()[1], signal.SIGSTOP)
    assert type(decoders.submit(task(picture)).result().error) is SourceUnreadable
    assert decoders.submit(task(picture)).result().crops is not None


@pytest.mark.parametrize(("number", "name"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGRTMIN + 6, "signal 40")])
def test_a_file_whose_decoder_is_killed_is_tried_once_more(
    make: Make, slow: Path, logged: list[str], number: int, name: str
) -> None:
    decoders = make()
    (pid,) = decoders.pids()[1:]
    future = decoders.submit(task(slow))
    wait_until_at_work(pid)
    os.kill(pid, number)
    assert future.result().crops is not None
    assert any(f"killed by {name})" in line for line in logged)
    assert not is_alive(pid)


def test_a_file_that_kills_two_decoders_is_a_crasher(make: Make, slow: Path, picture: Path) -> None:
    decoders = make(2)
    future = decoders.submit(task(slow))
    crash_two(decoders)
    decoded = future.result()
    assert reason(decoded) == "crashed-decoder"
    assert "SIGSEGV" in str(decoded.error)
    assert decoded.source is not None
    assert decoded.source.sha256 == hashlib.sha256(slow.read_bytes()).hexdigest()
    assert [decoders.submit(task(picture)).result().error for _ in range(4)] == [None] * 4


def test_losing_the_process_they_are_forked_from_costs_nothing(make: Make, slow: Path, picture: Path) -> None:
    decoders = make(2)
    before = decoders.pids()
    futures = [decoders.submit(task(slow)), decoders.submit(task(picture))]
    os.kill(before[0], signal.SIGKILL)
    assert [future.result().error for future in futures] == [None, None]
    assert all(decoders.submit(task(picture)).result().crops is not None for _ in range(4))
    assert not any(is_alive(pid) for pid in before)


def test_the_process_they_are_forked_from_may_hang(make: Make, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.decoding.launcher.ANSWER_SECONDS", 4.0)
    decoders = make()
    fork_server, pid = decoders.pids()
    os.kill(fork_server, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid), "the decoder is dead")
    assert decoders.submit(task(picture)).result().crops is not None
    assert decoders.pids()[0] != fork_server
    assert not is_alive(fork_server)


@pytest.mark.parametrize("what", ["socket.socketpair", "subprocess.Popen"])
def test_where_the_process_they_are_forked_from_cannot_be_started_again_images_wait(
    make: Make, picture: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    decoders = make()
    before = decoders.pids()
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, before)), "the processes end")
    with monkeypatch.context() as full:
        full.setattr(f"daemon.decoding.launcher.{what}", refuse)
        for _ in range(2):
            assert type(decoders.submit(task(picture)).result().error) is SourceUnreadable
    assert decoders.submit(task(picture)).result().crops is not None
    assert decoders.pids()[0] != before[0]


def test_decoders_that_died_idle_are_passed_over(make: Make, picture: Path, logged: list[str]) -> None:
    decoders = make(3)
    for pid in decoders.pids()[1:]:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: not is_alive(pid), "the decoder is dead")  # type: ignore[misc]
    assert decoders.submit(task(picture)).result().crops is not None
    assert logged == []


def test_signals_for_everybody_end_no_decoder(make: Make, slow: Path) -> None:
    decoders = make(2)
    future = decoders.submit(task(slow))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for pid in decoders.pids():
            os.kill(pid, number)
    assert future.result().crops is not None
    assert all(is_alive(pid) for pid in decoders.pids())
