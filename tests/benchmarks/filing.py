"""What the safety of filing costs: ``python -m tests.benchmarks.filing``.

Prints the files per second of filing in batches, of ``shutil.move`` and of ``mv``, on one file system and across two,
each measured in turn and the median of five rounds taken. The images are looked at before, as the pipeline does, and
that is not counted. Unlike the other two, filing journals each image durably before it moves, and flushes copies.

``the least`` is what that asks of any program in this language: in each batch one row for each image in one flushed
transaction of SQLite, a look, a rename and a look again for each, and one transaction that says they are done.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path, PurePath

from daemon.filing import Decision, Filer, Status
from daemon.journal import Journal
from daemon.moves import Entry, rename_noreplace
from daemon.source import open_source

FILES, SIZE, ROUNDS = 2048, 20_000, 5
BATCHES = (8, 32, 64, 256)
CLASSES = ("cat", "dog", "bird", "fish")
FAR = Path("/dev/shm")

#: Moves files to the class folders of an output, and returns the seconds that took.
Way = Callable[[list[Path], Path], float]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as near:
        report("one file system", Path(near), Path(near))
        if FAR.is_dir() and FAR.stat().st_dev != Path(near).stat().st_dev:
            with tempfile.TemporaryDirectory(dir=FAR, prefix="imagesortd-") as far:
                report("from memory to disk", Path(far), Path(near))
        else:
            print(f"{FAR} is no other file system: nothing is measured across two")


def report(name: str, source: Path, target: Path) -> None:
    """Measure everything between two places and print it."""
    ways: dict[str, Way] = {"shutil.move": by_shutil, "mv": by_mv}
    ways |= {f"filing, {size} a batch": by_filing(size) for size in BATCHES}
    if source == target:
        ways |= {f"the least, {size} a batch": by_the_least(size) for size in BATCHES}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    folders = (PurePath(str(number)) for number in count())
    for _ in range(ROUNDS):
        for way, work in ways.items():
            folder = next(folders)
            rates[way].append(measure(work, source / "in" / folder, target / "out" / folder))
    middle = {way: statistics.median(some) for way, some in rates.items()}
    print(f"{name}: {FILES} files of {SIZE} bytes into {len(CLASSES)} folders, median of {ROUNDS}")
    for way, rate in middle.items():
        print(f"{way:>24} {rate:10,.0f} files/s  {rate / middle['shutil.move']:6.2f} of shutil.move")


def folder_of(path: Path) -> str:
    return CLASSES[int(path.stem) % len(CLASSES)]


def by_shutil(paths: list[Path], output: Path) -> float:
    start = time.perf_counter()
    for path in paths:
        shutil.move(path, output / folder_of(path) / path.name)
    return time.perf_counter() - start


def by_mv(paths: list[Path], output: Path) -> float:
    commands = [["mv", "-t", str(output / name), *map(str, paths[k :: len(CLASSES)])] for k, name in enumerate(CLASSES)]
    start = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True)
    return time.perf_counter() - start


def by_filing(size: int) -> Way:
    """Filing in batches of that many."""

    def work(paths: list[Path], output: Path) -> float:
        sources = [open_source(path, max_bytes=SIZE) for path in paths]
        decisions = [
            Decision(
                source=source, folder=PurePath(folder_of(source.path)), label=folder_of(source.path), confidence=0.9
            )
            for source in sources
        ]
        with tempfile.TemporaryDirectory(dir=output.parent) as state:
            journal = Journal(Path(state) / "journal.sqlite")
            filer = Filer(output, journal=journal)
            journal.unfinished()  # which opens it
            start = time.perf_counter()
            for first in range(0, len(decisions), size):
                filed = filer.file(decisions[first : first + size])
                assert all(each.status is Status.FILED for each in filed)
            seconds = time.perf_counter() - start
            journal.close()
        return seconds

    return work


def by_the_least(size: int) -> Way:
    """Renames in batches of that many, with a journal of their own."""

    def work(paths: list[Path], output: Path) -> float:
        with tempfile.TemporaryDirectory(dir=output.parent) as state, ExitStack() as stack:
            db = stack.enter_context(closing(sqlite3.connect(Path(state) / "journal.sqlite", isolation_level=None)))
            db.executescript("PRAGMA journal_mode = WAL; CREATE TABLE moves (id INTEGER PRIMARY KEY, old, new, state);")
            folders = {path: os.open(path, os.O_RDONLY) for path in (paths[0].parent, *(output / c for c in CLASSES))}
            for folder in folders.values():
                stack.callback(os.close, folder)
            ways = [(Entry(folders[p.parent], p.name), Entry(folders[output / folder_of(p)], p.name)) for p in paths]
            start = time.perf_counter()
            for first in range(0, len(ways), size):
                _move_with_journal(db, ways[first : first + size], first)
            return time.perf_counter() - start

    return work


def _move_with_journal(db: sqlite3.Connection, ways: list[tuple[Entry, Entry]], first: int) -> None:
    rows = [(first + number, old.name, new.name, "intent") for number, (old, new) in enumerate(ways)]
    db.execute("PRAGMA synchronous = FULL")
    db.execute("BEGIN")
    db.executemany("INSERT INTO moves VALUES (?, ?, ?, ?)", rows)
    db.execute("COMMIT")
    for old, new in ways:
        before = old.status()
        rename_noreplace(old, new)
        assert new.status().st_ino == before.st_ino
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("UPDATE moves SET state = 'done' WHERE id >= ?", (first,))


def measure(work: Way, inbox: Path, output: Path) -> float:
    """Files per second, for new files that are moved to new folders."""
    inbox.mkdir(parents=True)
    paths = [inbox / f"{number:05}.jpg" for number in range(FILES)]
    for path in paths:
        path.write_bytes(path.name.encode() * (SIZE // 9))
    for name in CLASSES:
        (output / name).mkdir(parents=True)
    seconds = work(paths, output)
    assert sum(1 for path in output.rglob("*.jpg")) == FILES
    shutil.rmtree(inbox)
    shutil.rmtree(output)
    return FILES / seconds


if __name__ == "__main__":
    main()
