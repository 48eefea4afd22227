"""What it costs to notice corrections where many images are filed: ``python -m tests.benchmarks.corrections``.

Fills an output with ``--images N`` (1,000,000) empty files in ten class folders, and a journal with a row for each, and
starts a real daemon on it, once with events and once with ``--poll``. Prints, for each: how long it takes until all
folders have been read for the first time and the processor time of that; the processor time in percent of a core while
nothing happens, and while images are filed one by one; the seconds from an ``mv`` to its label; how long a second start
takes until a move that was made meanwhile is noted; and the memory of all processes. ``--json FILE`` for the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from daemon.correcting.known_files import REMEMBERED
from daemon.files.marker import MARKER
from daemon.files.source import Identity
from daemon.journal.journal import Journal
from daemon.journal.records import Filing, State
from daemon.state import journal_path
from models.files.markers import marker_content
from tests.pictures import KINDS, save
from tests.processes import PATIENCE, Daemon, daemon, family, memory, ticks

IMAGES, CLASSES, MOVES = 1_000_000, 10, 5
#: Seconds over which the processor time is taken.
REST = 60.0
#: Seconds between two arrivals while images are filed.
PAUSE = 0.5
_ROWS = 10_000


@dataclass
class Figures:
    """Seconds, but for what is named otherwise."""

    first_read_s: float
    first_read_cpu_s: float
    idle_cpu_percent: float
    filing_cpu_percent: float
    to_label_median_s: float
    to_label_most_s: float
    after_restart_s: float
    memory_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to work (the temporary folder)")
    parser.add_argument("--rest", type=float, default=REST)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory(prefix="imagesortd-", dir=options.folder) as name:
        folder = Path(name)
        print(f"filling an output with {options.images:,} files", flush=True)
        fill(folder, options.images)
        for mode, arguments in {"events": (), "polling": ("--poll",)}.items():
            figures[mode] = measure(folder, options.images, arguments, options.rest)
            print(f"\n{mode}")
            for key, value in asdict(figures[mode]).items():
                print(f"{key:>20} {value:10.2f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({mode: asdict(each) for mode, each in figures.items()}, indent=1))


def fill(folder: Path, count: int) -> None:
    """An output with so many files, filed by a journal."""
    output = folder / "sorted"
    path = journal_path(folder / "state", output)
    (folder / "inbox").mkdir()
    folders = [output / f"class{number}" for number in range(CLASSES)]
    for each in folders:
        each.mkdir(parents=True)
        (each / MARKER).write_bytes(marker_content("class"))
    rows = (row(folder, folders[number % CLASSES], number) for number in range(count))
    with closing(Journal(path)) as journal:
        while some := list(islice(rows, _ROWS)):
            journal.write(some)
    Path(folder / "config.toml").write_text(f'state_dir = "{folder / "state"}"\nwatch = ["inbox"]\n')


def row(folder: Path, class_folder: Path, number: int) -> Filing:
    """Make a file and say that it was filed."""
    path = class_folder / f"IMG_{number:07}.jpg"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    return Filing(
        state=State.DONE,
        action="move",
        source=folder / "inbox" / path.name,
        identity=Identity.from_stat(path.lstat()),
        sha256=f"{number:064x}",
        folder=class_folder,
        filed_name=path.name,
        label=class_folder.name,
        confidence=0.9,
        model_digest="0" * 64,
    )


def measure(folder: Path, images: int, arguments: Sequence[str], rest: float) -> Figures:
    """Everything, one after the other, with nothing seen before."""
    output, journal = folder / "sorted", journal_path(folder / "state", folder / "sorted")
    seen = journal.with_name(REMEMBERED)
    seen.unlink(missing_ok=True)
    began = time.monotonic()
    with daemon(folder, "--threshold", "0", *arguments) as running:
        used = cpu(running)
        wait(lambda: seen.exists() and seen.stat().st_size > 7 * images)
        first_read, first_cpu = time.monotonic() - began, cpu(running) - used
        time.sleep(10)
        idle = share(running, rest)
        filing = share(running, rest, folder / "inbox")
        pictures = sorted(output.glob("class0/IMG_*.jpg"))
        took = []
        for number in range(MOVES):
            time.sleep(7)
            took.append(noted(journal, partial(move, pictures[number], output / "class1")))
        taken = memory(family(running.process.pid)) / (1 << 20)
        running.terminate()
    move(pictures[MOVES], output / "class2")
    began = time.monotonic()
    before = labels(journal)
    with daemon(folder, "--threshold", "0", *arguments) as running:
        wait(lambda: labels(journal) > before)
        after = time.monotonic() - began
        running.terminate()
    return Figures(first_read, first_cpu, idle, filing, statistics.median(took), max(took), after, taken)


def move(picture: Path, folder: Path) -> None:
    picture.rename(folder / f"moved_{picture.name}")


def noted(journal: Path, act: Callable[[], object]) -> float:
    """Do something, and return the seconds until there is one more label."""
    before, began = labels(journal), time.monotonic()
    act()
    wait(lambda: labels(journal) > before)
    return time.monotonic() - began


def labels(journal: Path) -> int:
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM labels").fetchone()[0])


def wait(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.05)


def cpu(running: Daemon) -> float:
    """Processor time of the daemon itself, whose decoders only work for pictures."""
    return ticks(running.process.pid) / 100


def share(running: Daemon, seconds: float, inbox: Path | None = None) -> float:
    """Percent of a core that the daemon takes, while pictures come into an inbox or nothing happens."""
    before, until = cpu(running), time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        if inbox is not None:
            save(KINDS[number % len(KINDS)], number, inbox / f"new{time.monotonic_ns()}.jpg")
            number += 1
        time.sleep(PAUSE)
    return 100 * (cpu(running) - before) / seconds


if __name__ == "__main__":
    main()
