"""How a daemon is that has little to do: ``python -m tests.benchmarks.latency``, ``--json FILE`` for the figures.

Starts a real daemon with the starter model in a folder of its own, and measures: from the start of the process to
READY=1, with everything cached; from the close or the rename of a single picture to its being filed; the processor
time and the memory (PSS) of all its processes while nothing comes. On a machine that does anything else meanwhile, the
figures are that machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyEvent, InotifyFD, Mask

from tests.conftest import SHARED_DATA
from tests.pictures import KINDS, save
from tests.processes import COMMAND, PATIENCE, Daemon, family, memory, ticks

STARTS = 5
#: The shortest and the longest time between two arrivals, in seconds; and the time to come to rest.
PAUSE, REST = (0.15, 0.45), 5.0


@dataclass
class Figures:
    """Seconds, but for what is named otherwise."""

    arrivals: int
    latency_p50_ms: float
    latency_p99_ms: float
    latency_most_ms: float
    idle_cpu_percent: float
    idle_memory_mb: float
    memory_after_work_mb: float
    start_median_s: float
    start_most_s: float


#: What each figure should be at most.
GOALS = {
    "latency_p50_ms": 60,
    "latency_p99_ms": 250,
    "idle_cpu_percent": 0.5,
    "idle_memory_mb": 250,
    "start_median_s": 1.5,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arrivals", type=int, default=200)
    parser.add_argument("--idle-seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as folder:
        figures = measure(Path(folder), options.arrivals, options.idle_seconds)
    for name, value in asdict(figures).items():
        goal = f"   (at most {GOALS[name]})" if name in GOALS else ""
        print(f"{name:>22} {value:10.2f}{goal}")
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=1))


def measure(folder: Path, arrivals: int, idle_seconds: float) -> Figures:
    """Everything, one after the other."""
    with started(folder):
        pass  # the first one may have to prepare the weights
    starts = []
    for _ in range(STARTS):
        with started(folder) as (_, seconds):
            starts.append(seconds)
    with started(folder) as (daemon, _):
        everybody = family(daemon.process.pid)
        time.sleep(REST)
        before = memory(everybody)
        used = sum(map(ticks, everybody))
        time.sleep(idle_seconds)
        used = sum(map(ticks, everybody)) - used
        latencies = sorted(1000 * seconds for seconds in arrive(folder, arrivals))
        time.sleep(REST)
        after = memory(family(daemon.process.pid))
    return Figures(
        arrivals=len(latencies),
        latency_p50_ms=statistics.median(latencies),
        latency_p99_ms=statistics.quantiles(latencies, n=100, method="inclusive")[98],
        latency_most_ms=latencies[-1],
        idle_cpu_percent=used / idle_seconds,  # a tick is 1/100 s
        idle_memory_mb=before / (1 << 20),
        memory_after_work_mb=after / (1 << 20),
        start_median_s=statistics.median(starts),
        start_most_s=max(starts),
    )


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[tuple[Daemon, float]]:
    """A daemon that is ready, and the seconds it took, as systemd sees it."""
    address = folder / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(PATIENCE)
        began = time.perf_counter()
        daemon = Daemon(folder, ["--threshold", "0", *arguments], command=["env", f"NOTIFY_SOCKET={address}", *COMMAND])
        while systemd.recv(4096) != b"READY=1":
            pass
        seconds = time.perf_counter() - began
        address.unlink()
    try:
        yield daemon, seconds
    finally:
        daemon.terminate()


class Gate:
    """Hears, without looking again and again, when a picture leaves the inbox, which is when it is filed."""

    def __init__(self, inbox: Path) -> None:
        self._gone = threading.Event()
        self.time = 0.0
        self._reader = InotifyFD()
        self._reader.start()
        self._reader.add_callback(os.fsencode(inbox), Mask(InotifyConstants.IN_MOVED_FROM), self, CallbackId(1))

    def on_event(self, _: InotifyEvent) -> None:
        self.time = time.perf_counter()
        self._gone.set()

    def on_queue_overflow(self) -> None:
        raise AssertionError("one picture at a time")

    def on_watch_deleted(self, _: object) -> None:
        """At the end."""

    def wait(self) -> float:
        """When it was filed."""
        assert self._gone.wait(PATIENCE)
        self._gone.clear()
        return self.time

    def close(self) -> None:
        self._reader.stop()
        self._reader.join()


def arrive(folder: Path, count: int, prefix: str = "") -> Iterator[float]:
    """Let pictures come, one by one; the seconds from each one's close or rename to its being filed."""
    pictures = sorted((SHARED_DATA / "hymenoptera2").rglob("*.jpg"))
    if not pictures:
        pictures = [save(kind, 1, folder / "pictures" / f"{kind}.jpg") for kind in KINDS]
    chance, gate = random.Random(1), Gate(folder / "inbox")
    try:
        for number in range(count):
            time.sleep(chance.uniform(*PAUSE))
            picture, target = pictures[number % len(pictures)], folder / "inbox" / f"{prefix}{number}.jpg"
            if number % 2:
                shutil.copyfile(picture, target)
                closed = time.perf_counter()
            else:
                shutil.copyfile(picture, folder / "outside.jpg")
                (folder / "outside.jpg").rename(target)
                closed = time.perf_counter()
            yield gate.wait() - closed
    finally:
        gate.close()


if __name__ == "__main__":
    main()
