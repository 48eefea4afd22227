"""What a lesson costs the images: ``python -m tests.benchmarks.lessons``, ``--json FILE`` for the figures.

A daemon serves a model that was fitted on so many pictures. Single pictures arrive, in turns beside nothing else and
beside lessons, one following the other: somebody puts a picture into a class folder every second, and nobody has to
rest. Then, with the hands at rest: from the last picture that is put there to the model that has learned from it, or to
the refusal; and the most memory that a lesson has used. On a machine that does anything else meanwhile, the figures are
that machine's.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.latency import arrive, started
from tests.pictures import KINDS, save
from tests.processes import Daemon, children, run, wait_for

IMAGES, ARRIVALS, TURNS, LESSONS = 1000, 200, 4, 5
#: What the time of filing beside a lesson should be at most, compared with the usual one.
MOST = 2.0
#: What the log says at the end of a lesson.
_OVER = re.compile(r"learned from \d+ label|nothing is learned|no lesson")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--arrivals", type=int, default=ARRIVALS)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as name:
        figures = measure(Path(name), options.images, options.arrivals)
    for key, value in figures.items():
        goal = f"   (at most {MOST})" if key == "p99_ratio" else ""
        print(f"{key:>24} {value:10.2f}{goal}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def measure(folder: Path, images: int, arrivals: int) -> dict[str, float]:
    """Everything, one after the other."""
    for number in range(images):
        kind = KINDS[number % 3]
        save(kind, number, folder / "data" / kind / f"{number}.jpg")
    done = run("trainer", "fit", "--data-dir", "data", "--mode", "efficientnet_lite0", "--epochs", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    usual: list[float] = []
    beside: list[float] = []
    size = arrivals // (2 * TURNS)
    school = School(folder)
    quick = ("--learn-quiet-seconds", "0", "--learn-every-seconds", "0", "--log-level", "DEBUG")
    with started(folder, *quick) as (daemon, _):
        school.daemon = daemon
        school.put(8)
        school.wait(1)
        for turn in range(TURNS):
            usual += arrive(folder, size, f"usual{turn}-")
            with school.at_work():
                beside += arrive(folder, size, f"beside{turn}-")
        given = school.over()
    with started(folder, "--learn-quiet-seconds", "3", "--learn-every-seconds", "0") as (daemon, _):
        school.daemon = daemon
        seconds = [school.time_one() for _ in range(LESSONS)]
    p99 = [1000 * statistics.quantiles(times, n=100, method="inclusive")[98] for times in (usual, beside)]
    return {
        "images": images,
        "arrivals": len(usual) + len(beside),
        "lessons_beside_them": given,
        "usual_p50_ms": 1000 * statistics.median(usual),
        "usual_p99_ms": p99[0],
        "beside_p50_ms": 1000 * statistics.median(beside),
        "beside_p99_ms": p99[1],
        "p99_ratio": p99[1] / p99[0],
        "drag_to_result_s": statistics.median(seconds),
        "lesson_memory_mb": school.most_memory / 1024,
    }


class School:
    """Puts pictures into a class folder of a daemon, and watches its lessons."""

    def __init__(self, folder: Path) -> None:
        self.daemon: Daemon
        self.most_memory = 0  # KiB
        self._folder = folder
        self._count = 0

    def put(self, count: int = 1) -> None:
        """Put new pictures into a class folder that the model may not have yet."""
        for _ in range(count):
            self._count += 1
            name = f"hand{self._count}.jpg"
            target = self._folder / "sorted" / KINDS[3] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(save(KINDS[3], 5000 + self._count, self._folder / name), target)

    def over(self) -> int:
        """How many lessons are over."""
        return len(_OVER.findall(self.daemon.log()))

    def wait(self, count: int) -> None:
        wait_for(lambda: self.over() >= count, f"lesson {count} is over", 600)

    def time_one(self) -> float:
        """Seconds from the last picture that is put there to the end of the lesson."""
        before = self.over()
        self.put(4)
        began = time.monotonic()
        while self.over() == before:
            self._look_at_memory()
            time.sleep(0.02)
        return time.monotonic() - began

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Have one lesson follow the other meanwhile."""
        end = threading.Event()

        def work() -> None:
            while not end.wait(1.0):
                self.put()

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(2)
        try:
            yield
        finally:
            end.set()
            thread.join()
            before = -1
            while before != self.over():
                before = self.over()
                time.sleep(5)  # the last one, and perhaps one more

    def _look_at_memory(self) -> None:
        for pid in children(self.daemon.process.pid):
            try:
                if b"trainer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    status = Path(f"/proc/{pid}/status").read_text()
                    self.most_memory = max(self.most_memory, *map(int, re.findall(r"VmHWM:\s+(\d+) kB", status)))
            except (OSError, TypeError):
                continue


if __name__ == "__main__":
    main()
