"""What the control socket costs: ``python -m tests.benchmarks.control``, ``--json FILE`` for the figures.

Two real daemons with the starter model take turns: one with a control socket, and one that has none, since the path of
its state folder is too long for that. Measured are: how often their threads wake up while nobody speaks; how long a
call takes on an idle daemon, connection and all; and the time from the close of a single picture to its being filed,
without the socket, with it, and while four clients call without a pause: two ask for the status, and two undo what was
filed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from daemon.control.client import ControlClient
from tests.benchmarks.latency import REST, arrive, started

CLIENTS, CALLS = 4, 500
_TOO_LONG = "x" * 120


@dataclass
class Figures:
    """Milliseconds, but for what is named otherwise."""

    idle_wakeups_a_second: float
    idle_wakeups_a_second_without_socket: float
    status_p50: float
    status_p99: float
    rescan_p50: float
    rescan_p99: float
    filed_without_socket_p50: float
    filed_without_socket_p99: float
    filed_with_socket_p50: float
    filed_with_socket_p99: float
    calls_meanwhile: int
    filed_under_calls_p50: float
    filed_under_calls_p99: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arrivals", type=int, default=200)
    parser.add_argument("--idle-seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as folder:
        figures = measure(Path(folder), options.arrivals, options.idle_seconds)
    for name, value in asdict(figures).items():
        print(f"{name:>37} {value:10.2f}")
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=1))


def measure(folder: Path, arrivals: int, idle_seconds: float) -> Figures:
    """Everything, one after the other."""
    speaking, silent = folder / "speaking", folder / "silent"
    for home in (speaking, silent):
        home.mkdir()
    with (
        started(speaking, "--state-dir", "state") as (daemon, _),
        started(silent, "--state-dir", _TOO_LONG) as (other, _),
    ):
        (path,) = (speaking / "state").glob("*/control.sock")
        status, rescan = (milliseconds(calls(path, method, CALLS)) for method in ("status", "rescan"))
        time.sleep(REST)
        pids = (daemon.process.pid, other.process.pid)
        before = [wakeups(pid) for pid in pids]
        time.sleep(idle_seconds)
        woken = [(wakeups(pid) - count) / idle_seconds for pid, count in zip(pids, before, strict=True)]
        without, with_socket = [], []
        for first, second in zip(arrive(silent, arrivals), arrive(speaking, arrivals), strict=True):
            without.append(first)
            with_socket.append(second)
        with clients(path) as made:
            meanwhile = milliseconds(arrive(speaking, arrivals, "more"))
    return Figures(
        woken[0], woken[1], *status, *rescan, *milliseconds(without), *milliseconds(with_socket), sum(made), *meanwhile
    )


def milliseconds(seconds: Iterator[float] | Sequence[float]) -> tuple[float, float]:
    """The median and the 99th of a hundred."""
    sorted_ones = sorted(1000 * each for each in seconds)
    return statistics.median(sorted_ones), statistics.quantiles(sorted_ones, n=100, method="inclusive")[98]


def calls(path: Path, method: str, count: int, **params: object) -> Iterator[float]:
    """How long each call of a method takes."""
    for _ in range(count):
        begun = time.perf_counter()
        with ControlClient(path) as client:
            for _ in client.call(method, params):
                pass
        yield time.perf_counter() - begun


@contextmanager
def clients(path: Path) -> Iterator[list[int]]:
    """Clients that call without a pause meanwhile, and how many calls each has made."""
    over, made = threading.Event(), [0] * CLIENTS

    def work(number: int) -> None:
        while not over.is_set():
            method, params = [("status", {}), ("undo", {"last": 1})][number % 2]
            made[number] += sum(1 for _ in calls(path, method, 1, **params))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        over.set()
        for thread in threads:
            thread.join()


def wakeups(pid: int) -> int:
    """How many times the threads of a process have waited so far."""
    texts = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0]) for text in texts)


if __name__ == "__main__":
    main()
