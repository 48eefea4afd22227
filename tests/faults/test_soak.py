"""A daemon that is killed again and again while several programs write into its inbox, each in its own way.

``SOAK_SECONDS`` says for how long (ten minutes where it is not set).
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.filing_desk import images
from tests.pictures import KINDS, save
from tests.processes import Daemon, run, wait_for

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))

#: Names that each program gives out in turn, so that the class folders see every one many times.
NAMES = 5
#: Seconds between the pieces of a slow writer, less than the daemon takes for the end.
PIECES, PAUSE = 5, 0.3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 600)]

Write = Callable[[Path, Path], None]


def copy(picture: Path, place: Path) -> None:
    subprocess.run(["cp", picture, place], check=True)


def move(picture: Path, place: Path) -> None:
    subprocess.run(["mv", "-n", picture, place], check=True)


def synchronise(picture: Path, place: Path) -> None:
    if shutil.which("rsync") is not None:
        subprocess.run(["rsync", "--inplace", "--times", picture, place], check=True)
        return
    content, status = picture.read_bytes(), picture.stat()
    with place.open("wb") as file:  # what it does
        file.write(content[: len(content) // 2])
        file.flush()
        file.write(content[len(content) // 2 :])
        file.flush()
        os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


def write_slowly(picture: Path, place: Path) -> None:
    content = picture.read_bytes()
    piece = len(content) // PIECES + 1
    command = ["dd", f"of={place}", "bs=64k", "status=none"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as dd:
        assert dd.stdin is not None
        for start in range(0, len(content), piece):
            dd.stdin.write(content[start : start + piece])
            dd.stdin.flush()
            time.sleep(PAUSE)


def upload(picture: Path, place: Path) -> None:
    part = place.with_name(f"{place.name}.part")
    shutil.copyfile(picture, part)
    part.rename(place)


class Writer(threading.Thread):
    """One program: puts new pictures into the inbox until it is stopped; ``written`` are their digests."""

    def __init__(self, number: int, write: Write, inbox: Path, stop: threading.Event) -> None:
        super().__init__(name=write.__name__)
        self.written: list[str] = []
        self.error: Exception | None = None
        self._number, self._write, self._inbox, self._stop_now = number, write, inbox, stop

    def run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self.error = error

    def _work(self) -> None:
        rng = random.Random(self._number)
        turn = 0
        while not self._stop_now.wait(rng.uniform(0.0, 0.4)):
            turn += 1
            place = self._inbox / f"{self.name}-{turn % NAMES}.png"
            if place.exists():
                continue  # to write over it would be to lose it
            seed = self._number * 1_000_000 + turn
            picture = save(KINDS[turn % len(KINDS)], seed, self._inbox.parent / f"new-{self.name}.png")
            self.written.append(digest(picture))
            self._write(picture, place)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def writers(inbox: Path) -> Iterator[list[Writer]]:
    stop = threading.Event()
    every = [copy, move, synchronise, write_slowly, upload]
    threads = [Writer(number, write, inbox, stop) for number, write in enumerate(every)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def until_it_is_ready(daemon: Daemon, before: int) -> None:
    """Wait until a daemon files, however busy the machine is; ``before``: how many have been ready before it."""
    wait_for(lambda: daemon.log().count("ready;") > before or daemon.process.poll() is not None, "it is ready")


def until_it_files(state: Path) -> None:
    """Wait for a write to the journal, some seconds at most: what follows it is worth a kill."""
    before, end = written(state), time.monotonic() + 5.0
    while written(state) == before and time.monotonic() < end:
        time.sleep(0.0002)


def written(state: Path) -> list[int]:
    return [log.stat().st_mtime_ns for log in state.glob("*/journal.sqlite-wal")]


def test_nothing_is_lost_doubled_or_changed(tmp_path: Path) -> None:
    inbox, output = tmp_path / "inbox", tmp_path / "sorted"
    inbox.mkdir()
    rng = random.Random(1)
    arguments = ("--state-dir", "state", "--settle-seconds", "1", "--rescan-seconds", "5")
    assert run("daemon", "--once", *arguments, cwd=tmp_path).returncode == 0, "which prepares the model"
    kills = ready = 0
    end = time.monotonic() + SECONDS
    with writers(inbox) as threads:
        while time.monotonic() < end:
            daemon = Daemon(tmp_path, arguments)
            if kills % 2:
                until_it_is_ready(daemon, ready)
            time.sleep(rng.uniform(1.0, 8.0))
            if kills % 2:
                until_it_files(tmp_path / "state")
            assert daemon.process.poll() is None, daemon.log()
            daemon.process.kill()
            daemon.process.wait()
            kills += 1
            ready = daemon.log().count("ready;")
    assert [thread.error for thread in threads] == [None] * len(threads)
    last = Daemon(tmp_path, arguments)
    try:
        wait_for(lambda: not images(inbox), f"the inbox is empty:\n{last.log()[-3000:]}", seconds=300)
    finally:
        assert last.terminate() == 0
    written = Counter(each for thread in threads for each in thread.written)
    there = Counter(digest(path) for root in (inbox, output) for path in images(root))
    recovered = last.log().count("recovered from an interrupted run")
    print(f"{written.total()} pictures, {kills} kills, {recovered} unfinished filings put right")
    assert not written - there, "lost, or changed"
    assert not there - written, "filed twice, or torn"
    assert [path for path in images(output) if path.name[0] == "."] == []
    history = run("daemon", "history", "--state-dir", "state", "--json", cwd=tmp_path)
    assert history.returncode == 0
    assert '"orphan"' not in history.stdout
