"""What the safety of filing costs: ``python -m tests.benchmarks.filing``.

Prints the files per second of filing in batches, of ``shutil.move`` and of ``mv``, on one file system and across two,
and the processor time for each file, which other programs and a slow disk disturb less. All take turns; what is printed
is the median of the rounds, and the median of each round's ratio to ``shutil.move``. The images are looked at before,
as the pipeline does, and that is not counted. Unlike the other two, filing journals each image durably before it
moves, and flushes copies. ``--rounds N`` (5); ``--folder DIR``: where to work (the temporary folder).

``the least`` is what that asks of any program in this language: in each batch one row for each image in one flushed
transaction of SQLite, a look, a rename and a look again for each, and one transaction that says they are done.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path, PurePath
from typing import NamedTuple

from daemon.files.renaming import FileAt, rename_noreplace
from daemon.files.source import open_source
from daemon.filing.filer import Filer, FilingRequest, Status
from daemon.journal.journal import Journal
from models.deciding.rule import Fate

FILES, SIZE = 2048, 20_000
BATCHES = (16, 64, 256, 1024)
CLASSES = ("cat", "dog", "bird", "fish")
DIGEST = "0123456789abcdef" * 4
FAR = Path("/dev/shm")


class Cost(NamedTuple):
    """What some work took, in seconds: on the clock, and of the processor (this program, its children, the kernel)."""

    wall: float
    cpu: float

    @classmethod
    def so_far(cls) -> Cost:
        """Since some moment in the past."""
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return cls(time.perf_counter(), sum(usage.ru_utime + usage.ru_stime for usage in usages))


#: Moves files to the class folders of an output, and says what that took.
Way = Callable[[list[Path], Path], Cost]


@contextmanager
def measured() -> Iterator[list[Cost]]:
    """Puts into the list what the block took."""
    costs: list[Cost] = []
    before = Cost.so_far()
    yield costs
    after = Cost.so_far()
    costs.append(Cost(after.wall - before.wall, after.cpu - before.cpu))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="imagesortd-") as near:
        report("one file system", Path(near), Path(near), options.rounds)
        if FAR.is_dir() and FAR.stat().st_dev != Path(near).stat().st_dev:
            with tempfile.TemporaryDirectory(dir=FAR, prefix="imagesortd-") as far:
                report("from memory to disk", Path(far), Path(near, "across"), options.rounds)
        else:
            print(f"{FAR} is no other file system: nothing is measured across two")


def report(name: str, source: Path, target: Path, rounds: int) -> None:
    """Measure everything between two places and print it."""
    ways: dict[str, Way] = {"shutil.move": by_shutil, "mv": by_mv}
    ways |= {f"filing, {size} a batch": by_filing(size) for size in BATCHES}
    if source == target:
        ways |= {f"the least, {size} a batch": by_the_least(size) for size in BATCHES}
    costs: dict[str, list[Cost]] = {way: [] for way in ways}
    folders = (PurePath(str(number)) for number in count())
    for _ in range(rounds):
        for way, work in ways.items():
            folder = next(folders)
            costs[way].append(measure(work, source / "in" / folder, target / "out" / folder))
    print(f"{name}: {FILES} files of {SIZE} bytes into {len(CLASSES)} folders, median of {rounds}")
    print(f"{'':>26}{'files/s':>9}{'of shutil.move':>16}{'CPU us/file':>13}{'of shutil.move':>16}")
    for way, each in costs.items():
        print(f"{way:>26}{_row(each, costs['shutil.move'])}")


def _row(costs: list[Cost], yardstick: list[Cost]) -> str:
    rounds = list(zip(costs, yardstick, strict=True))
    rate = FILES / statistics.median(cost.wall for cost in costs)
    speed = statistics.median(other.wall / cost.wall for cost, other in rounds)
    cpu = statistics.median(cost.cpu for cost in costs) / FILES * 1e6
    thrift = statistics.median(other.cpu / cost.cpu for cost, other in rounds)
    return f"{rate:9,.0f}{speed:16.2f}{cpu:13.1f}{thrift:16.2f}"


def folder_of(path: Path) -> str:
    return CLASSES[int(path.stem) % len(CLASSES)]


def by_shutil(paths: list[Path], output: Path) -> Cost:
    with measured() as costs:
        for path in paths:
            shutil.move(path, output / folder_of(path) / path.name)
    return costs[0]


def by_mv(paths: list[Path], output: Path) -> Cost:
    commands = [["mv", "-t", str(output / name), *map(str, paths[k :: len(CLASSES)])] for k, name in enumerate(CLASSES)]
    with measured() as costs:
        for command in commands:
            subprocess.run(command, check=True)
    return costs[0]


def by_filing(size: int) -> Way:
    """Filing in batches of that many."""

    def work(paths: list[Path], output: Path) -> Cost:
        sources = [open_source(path, max_bytes=SIZE) for path in paths]
        decisions = [
            FilingRequest(
                source=source,
                folder=folder_of(source.path),
                fate=Fate.SURE,
                label=folder_of(source.path),
                confidence=0.9,
                model_digest=DIGEST,
            )
            for source in sources
        ]
        with tempfile.TemporaryDirectory(dir=output.parent) as state:
            journal = Journal(Path(state) / "journal.sqlite")
            filer = Filer(output, journal=journal)
            journal.interrupted()  # which opens it
            with measured() as costs:
                for first in range(0, len(decisions), size):
                    filed = filer.file(decisions[first : first + size])
                    assert all(each.status is Status.FILED for each in filed)
            journal.close()
        return costs[0]

    return work


def by_the_least(size: int) -> Way:
    """Renames in batches of that many, with a journal of their own."""

    def work(paths: list[Path], output: Path) -> Cost:
        with tempfile.TemporaryDirectory(dir=output.parent) as state, ExitStack() as stack:
            db = stack.enter_context(closing(sqlite3.connect(Path(state) / "journal.sqlite", isolation_level=None)))
            db.executescript("PRAGMA journal_mode = WAL; CREATE TABLE moves (id INTEGER PRIMARY KEY, old, new, state);")
            folders = {path: os.open(path, os.O_RDONLY) for path in (paths[0].parent, *(output / c for c in CLASSES))}
            for folder in folders.values():
                stack.callback(os.close, folder)
            ways = [(FileAt(folders[p.parent], p.name), FileAt(folders[output / folder_of(p)], p.name)) for p in paths]
            with measured() as costs:
                for first in range(0, len(ways), size):
                    _move_with_journal(db, ways[first : first + size], first)
        return costs[0]

    return work


def _move_with_journal(db: sqlite3.Connection, ways: list[tuple[FileAt, FileAt]], first: int) -> None:
    rows = [(first + number, old.name, new.name, "intent") for number, (old, new) in enumerate(ways)]
    db.execute("PRAGMA synchronous = FULL")
    db.execute("BEGIN")
    db.executemany("INSERT INTO moves VALUES (?, ?, ?, ?)", rows)
    db.execute("COMMIT")
    for old, new in ways:
        before = old.stat()
        rename_noreplace(old, new)
        assert new.stat().st_ino == before.st_ino
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("UPDATE moves SET state = 'done' WHERE id >= ?", (first,))


def measure(work: Way, inbox: Path, output: Path) -> Cost:
    """What it takes to move new files to new folders."""
    inbox.mkdir(parents=True)
    paths = [inbox / f"{number:05}.jpg" for number in range(FILES)]
    for path in paths:
        path.write_bytes(path.name.encode() * (SIZE // 9))
    for name in CLASSES:
        (output / name).mkdir(parents=True)
    cost = work(paths, output)
    assert sum(1 for path in output.rglob("*.jpg")) == FILES
    # Not deleted yet: for half a minute ext4 reuses no inode that was, and whoever makes files looks through them all.
    for path in output.rglob("*.jpg"):
        os.truncate(path, 0)
    return cost


if __name__ == "__main__":
    main()
