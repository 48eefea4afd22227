"""What decoding in processes costs beside decoding in threads: ``python -m tests.benchmarks.decoders``.

Sorts real photographs (hymenoptera2, beside the project), and 12 MP JPEGs made of them, with the starter model and
nothing filed; then single images one by one, as they arrive in an inbox. Prints images per second; the processor time
of an image, which a busy machine changes less; the time of a single image; and the memory of all processes together
(PSS): idle after the start, the most at work, idle afterwards. The last line of each folder compares the medians.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import Image

from daemon.decoding.decoder import Decoded, Task
from daemon.decoding.pool import DecoderPool, Limits
from daemon.files.source import SourceError, open_source
from daemon.filing.filer import Filer, Status
from daemon.pipeline import Pipeline
from daemon.reloading.pipeline_settings import PipelineSettings
from models.classifier import open_classifier
from models.decoding.images import decode
from models.errors import ImageError
from models.inference.runtime import cores
from models.starter import starter_path
from models.weights.store import WeightsStore
from tests.conftest import SHARED_DATA
from tests.processes import ticks

LARGE = (4000, 3000)
LARGE_IMAGES = 60
SINGLE_IMAGES = 100
ROUNDS = 3


class Threads(DecoderPool):
    """The same in threads of the daemon's own, as it was before there were decoders."""

    def __init__(self, count: int, limits: Limits) -> None:
        self._pool = ThreadPoolExecutor(count)

    def submit(self, task: Task) -> Future[Decoded]:
        return self._pool.submit(self._in_thread, task)

    def _in_thread(self, task: Task) -> Decoded:
        source = None
        try:
            source = open_source(task.path, max_bytes=task.max_bytes)
            return Decoded(task.path, source, decode(BytesIO(source.data), task.transforms, max_pixels=task.max_pixels))
        except (ImageError, SourceError) as error:
            return Decoded(task.path, source, error=error)

    def close(self) -> None:
        self._pool.shutdown()

    def pids(self) -> list[int]:
        return []


def main(arguments: list[str]) -> None:
    if arguments:
        measure(arguments[0], Path(arguments[1]))
    elif not SHARED_DATA.is_dir():
        print(f"There is nothing to measure: the shared pictures are not in {SHARED_DATA}.")
    else:
        compare()


def compare() -> None:
    """The table, in several rounds, since a machine is seldom idle."""
    photographs = SHARED_DATA / "hymenoptera2"
    with tempfile.TemporaryDirectory() as made:
        enlarge(photographs, Path(made))
        print(f"{'':>22}{'images/s':>10}{'CPU, ms':>9}{'single, ms':>12}{'p99':>7}", end="")
        print(f"{'MB idle':>9}{'at work':>9}{'after':>7}")
        for folder, name in [(photographs, "hymenoptera2"), (Path(made), "12 MP JPEG")]:
            rates: dict[str, list[float]] = {"threads": [], "processes": []}
            for kind in [*rates] * ROUNDS:
                command = [sys.executable, "-m", "tests.benchmarks.decoders", kind, str(folder)]
                line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                rates[kind].append(float(line.split()[0]))
                print(f"{name:>12}{kind:>10}{line}", end="", flush=True)
            share = statistics.median(rates["processes"]) / statistics.median(rates["threads"])
            print(f"{name:>12}: processes sort {share:.2f} times as many images a second as threads (goal: 1.00)")


def enlarge(photographs: Path, folder: Path) -> None:
    """JPEGs of a camera's size."""
    for number, path in enumerate(sorted(photographs.rglob("*.jpg"))[:LARGE_IMAGES]):
        Image.open(path).convert("RGB").resize(LARGE).save(folder / f"{number}.jpg", quality=90)


def measure(kind: str, folder: Path) -> None:
    """One line of figures for one way of decoding; in a process of its own, so that the memory is its own."""
    store = WeightsStore()
    classifier = open_classifier(starter_path(store, "en", threads=cores()), store, threads=cores())
    pipeline_settings = PipelineSettings(
        threshold=0.0,
        others_dir="others",
        quarantine_dir="quarantine",
        batch_size=16,  # the default
        max_pixels=200_000_000,
        max_bytes=512 << 20,
    )
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as output:
        pipeline = Pipeline(classifier, Filer(Path(output), dry_run=True), pipeline_settings, threads=cores())
        if kind == "threads":
            pipeline.decoders.close()
            pipeline.decoders = Threads(cores(), pipeline_settings.limits)
        time.sleep(1)
        pids = ["self", *map(str, pipeline.decoders.pids())]
        idle = memory(pids)
        with Most(pids) as most:
            sort(pipeline, paths)
        started, used = time.perf_counter(), processor(pids)  # not while `Most` is looking, which costs by the process
        sort(pipeline, paths)
        seconds, used = time.perf_counter() - started, processor(pids) - used
        after = memory(["self", *map(str, pipeline.decoders.pids())])
        single = []
        for path in paths[:SINGLE_IMAGES]:
            started = time.perf_counter()
            list(pipeline.process([path]))
            single.append(1000 * (time.perf_counter() - started))
        pipeline.close()
    middle, late = statistics.median(single), statistics.quantiles(single, n=100)[-1]
    print(f"{len(paths) / seconds:>10.1f}{1000 * used / len(paths):>9.1f}", end="")
    print(f"{middle:>12.1f}{late:>7.0f}{idle:>9.0f}{most.value:>9.0f}{after:>7.0f}")


def sort(pipeline: Pipeline, paths: list[Path]) -> None:
    """Once through all."""
    for outcome in pipeline.process(paths):
        assert outcome.status is Status.PLANNED, outcome


def memory(pids: list[str]) -> float:
    """PSS of processes together, in MB (2^20 bytes)."""
    kilobytes = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024


def processor(pids: list[str]) -> float:
    """Processor time that processes have used together, in seconds; there are no others meanwhile."""
    return sum(ticks(os.getpid() if pid == "self" else int(pid)) for pid in pids) / 100


class Most:
    """The most memory while something runs, looked at ten times a second."""

    def __init__(self, pids: list[str]) -> None:
        self.value = 0.0
        self._pids = pids
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.value = max(self.value, memory(self._pids))

    def __enter__(self) -> Most:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


if __name__ == "__main__":
    main(sys.argv[1:])
