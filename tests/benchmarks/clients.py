"""What calls cost the pictures that arrive meanwhile: ``python -m tests.benchmarks.clients``, ``--json FILE``.

A real daemon with the starter model files single arrivals; then it does so while four clients undo, release, relabel,
resort and retry what it has filed. Both in one run; afterwards each picture must lie in exactly one place, and each
answer must have been true.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.latency import started
from tests.four_clients import CLIENTS, Arrivals, Client, Station, losses, release_all, work_at_once


@dataclass
class Figures:
    """Milliseconds, but for what is named otherwise."""

    calls: int
    lost_or_double: int
    wrong_answers: int
    alone_p50: float
    alone_p99: float
    beside_p50: float
    beside_p99: float
    slowest_call: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrivals", type=int, default=200, help="alone, and again beside the calls")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as folder:
        figures = measure(Path(folder), options.arrivals, options.calls)
    for name, value in asdict(figures).items():
        print(f"{name:>15} {value:10.1f}")
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=1))


def measure(folder: Path, arrivals: int, calls: int) -> Figures:
    station = Station(folder)
    with started(folder, "--state-dir", str(station.state)):
        coming = Arrivals(station)
        try:
            coming.come(20)  # the first ones warm it up
            alone = coming.seconds(coming.come(arrivals))
            clients = [Client(station, number) for number in range(CLIENTS)]
            over = threading.Event()
            threads = work_at_once(clients, calls, over)
            beside = coming.seconds(coming.come(arrivals))
            while any(thread.is_alive() for thread in threads):
                coming.come(1)
            for thread in threads:
                thread.join()
            release_all(station)
        finally:
            coming.close()
    return Figures(
        calls=sum(client.calls.total() for client in clients),
        lost_or_double=len(losses(station)),
        wrong_answers=sum(len(client.wrong) for client in clients),
        alone_p50=1000 * statistics.median(alone),
        alone_p99=1000 * _percentile(alone),
        beside_p50=1000 * statistics.median(beside),
        beside_p99=1000 * _percentile(beside),
        slowest_call=1000 * max(client.slowest for client in clients),
    )


def _percentile(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[98]


if __name__ == "__main__":
    main()
