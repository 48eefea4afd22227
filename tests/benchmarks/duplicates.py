"""What looking for duplicates costs where a million images were filed: ``python -m tests.benchmarks.duplicates``.

Makes a journal of ``--rows`` filings (1,000,000) of other images, and files batches of 16 new ones with it: with
``duplicates = "keep"``, which looks for none, with "folder" and with "leave", in turns. Prints the median of the
batches in milliseconds for each image, on the clock and of the processor, and what an image costs that is a duplicate
of one among 200 that are really there. ``--folder DIR``: where to work (the temporary folder).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path

from daemon.files.source import Identity, open_source
from daemon.filing.duplicates import DuplicatePolicy, Duplicates
from daemon.filing.filer import Filer, FilingRequest, Status
from daemon.journal.journal import Journal
from daemon.journal.records import Filing, State
from models.deciding.rule import Fate

BATCH, ORIGINALS, BATCHES, SIZE = 16, 200, 60, 20_000
POLICIES: tuple[DuplicatePolicy, ...] = ("keep", "folder", "leave")
DIGEST = "0123456789abcdef" * 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="imagesortd-") as folder:
        figures = measure(Path(folder), options.rows)
    if options.json:
        options.json.write_text(json.dumps(figures))


def measure(folder: Path, rows: int) -> dict[str, float]:
    """Return the milliseconds of the processor for each image, by what it is and the policy."""
    figures: dict[str, float] = {}
    (folder / "inbox").mkdir()
    numbers = count()
    with closing(Journal(folder / "state" / "journal.db")) as journal:
        fill(journal, rows)
        originals = [decide(folder, next(numbers)) for _ in range(ORIGINALS)]
        Filer(folder / "sorted", journal=journal).file(originals)
        print(f"{rows:,} filings, {(folder / 'state' / 'journal.db').stat().st_size / 1e6:.0f} MB")
        for of_old in (False, True):
            what = "duplicates" if of_old else "new images"
            print(what)
            costs: dict[DuplicatePolicy, list[tuple[float, float]]] = {policy: [] for policy in POLICIES}
            for turn in range(BATCHES):
                for policy in (*POLICIES[turn % 3 :], *POLICIES[: turn % 3]):
                    contents = range(BATCH) if of_old else islice(numbers, BATCH)
                    batch = [decide(folder, number, f"{next(numbers)}.jpg") for number in contents]
                    costs[policy].append(
                        cost(Filer(folder / "sorted", journal=journal, duplicates=Duplicates(policy)), batch)
                    )
            for policy, taken in costs.items():
                wall, cpu = (statistics.median(each) / BATCH * 1000 for each in zip(*taken, strict=True))
                figures[f"{what}, {policy}"] = cpu
                print(f"  {policy:8} {wall:7.3f} ms an image, {cpu:6.3f} ms of the processor")

    return figures


def fill(journal: Journal, rows: int) -> None:
    """Write filings of images that are not there."""
    start = datetime.now(UTC) - timedelta(seconds=rows)
    for first in range(0, rows, 20_000):
        journal.write([row(number, start) for number in range(first, min(first + 20_000, rows))])


def row(number: int, start: datetime) -> Filing:
    return Filing(
        state=State.DONE,
        action="move",
        source=Path(f"/srv/inbox/IMG_{number:07}.jpg"),
        identity=Identity(1, 10**12 + number, 3_000_000 + number % 1000, 1_700_000_000_000_000_000 + number),
        sha256=hashlib.sha256(b"%d" % number).hexdigest(),
        folder=Path(f"/srv/sorted/class {number % 30}"),
        filed_name=f"IMG_{number:07}.jpg",
        label=f"class {number % 30}",
        confidence=0.9,
        model_digest=DIGEST,
        time=start + timedelta(seconds=number),
    )


def decide(folder: Path, number: int, name: str | None = None) -> FilingRequest:
    """Put an image into the inbox, whose content is that of its number, and look at it."""
    path = folder / "inbox" / (name or f"{number}.jpg")
    path.write_bytes(b"%12d" % number * (SIZE // 12))
    source = open_source(path, max_bytes=1 << 24)
    label = f"class {number % 30}"
    return FilingRequest(source=source, folder=label, fate=Fate.SURE, label=label, confidence=0.9, model_digest=DIGEST)


def cost(filer: Filer, batch: list[FilingRequest]) -> tuple[float, float]:
    """File a batch; returns the seconds that it took, and those of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    results = filer.file(batch)
    taken = time.perf_counter() - wall, time.process_time() - cpu
    assert {result.status for result in results} <= {Status.FILED, Status.LEFT}
    return taken


if __name__ == "__main__":
    main()
