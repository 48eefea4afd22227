"""How the cost grows: ``python -m tests.benchmarks.growth [journal classes folders]``, ``--json FILE`` for the figures.

What a journal of 10,000 to 1,000,000 rows costs the commands and the daemon; what 2 to 1,000 classes cost each image,
the start and a reload; what 1 to 100 watched folders cost the start and an idle daemon. Each time is the least of some
tries, and stands beside that of the smallest size, measured in the same run: the ratio of the two says what grows.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np

from daemon.files.source import Identity
from daemon.filing.filer import Filer
from daemon.housekeeping import Pruning
from daemon.journal.journal import Journal
from daemon.journal.records import Filing, State
from daemon.reloading.loader import CheckpointOptions
from daemon.reloading.reloader import Reloader
from daemon.state import journal_path
from models import registry
from models.checkpoints import checkpoint
from models.checkpoints.checkpoint import FILE_NAME, Head, Metadata, PartRecord
from models.classifier import Classifier, make_checkpoint
from models.inference.runtime import FeatureExtractor, open_extractor
from models.scoring import head_probabilities
from models.weights.store import WeightsStore
from tests.benchmarks.latency import REST, started
from tests.filing_desk import make_desk
from tests.processes import family, memory, run, ticks
from tests.publishing import Run, point_at

ROWS, CLASSES, FOLDERS = (10_000, 100_000, 1_000_000), (2, 10, 100, 1_000), (1, 10, 100)
TRIES, BATCH, BATCHES = 5, 16, 100
#: Rows are of the last so many days; those older than half of them are pruned.
DAYS = 360
IDLE_SECONDS = 15.0

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--most", type=int, default=max(ROWS), help="leave out what is larger (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if strangers := set(options.subjects) - set(SUBJECTS):
        parser.error(f"nothing is measured about {', '.join(strangers)}: choose from {', '.join(SUBJECTS)}")
    everything = {}
    for subject in options.subjects or SUBJECTS:
        measure, sizes = SUBJECTS[subject]
        with tempfile.TemporaryDirectory(prefix="imagesortd-") as folder:
            chosen = [size for size in sizes if size <= options.most]
            everything[subject] = {size: measure(Path(folder) / str(size), size) for size in chosen}
        report(subject, everything[subject])
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))


def report(subject: str, by_size: dict[int, Figures]) -> None:
    """A row for each figure, a column for each size, and how many times the first the last is."""
    first, last = (by_size[size] for size in (min(by_size), max(by_size)))
    print(f"{subject:>32}{''.join(f'{size:>12,}' for size in by_size)}{'ratio':>10}")
    for what in first:
        values = "".join(f"{figures[what]:12.2f}" for figures in by_size.values())
        print(f"{what:>32}{values}{last[what] / first[what] if first[what] else float('nan'):10.2f}")
    print(flush=True)


def least(work: Callable[[], object], tries: int = TRIES) -> float:
    """The milliseconds of the quickest of some tries."""
    times = []
    for _ in range(tries):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * min(times)


# --- a journal of many rows


def with_journal(folder: Path, rows: int) -> Figures:
    """The commands as whole processes, what they have to look through at worst, and what the daemon does."""
    folder.mkdir()
    path = journal_path(folder / "state", folder / "sorted")
    fill(path, rows)
    place = ("--state-dir", "state", "--output", "sorted")
    day = (datetime.now() - timedelta(days=DAYS // 2)).date().isoformat()
    questions = {
        "history --limit 20": ("history", "--limit", "20"),
        "history --class, 20": ("history", "--class", "class-3", "--limit", "20"),
        "history --class of nothing": ("history", "--class", "none"),
        "history of an old hour": ("history", "--since", f"{day}T12:00", "--until", f"{day}T12:10"),
        "history --min-confidence, none": ("history", "--min-confidence", "1"),
        "history --checkpoint, oldest": ("history", "--checkpoint", digest(0)[:12], "--limit", "20"),
        "history --run, oldest": ("history", "--run", run_name(0), "--limit", "20"),
        "history --file": ("history", "--file", "IMG_0000007.jpg"),
        "history --file, filed name": ("history", "--file", "IMG_0000000_2.jpg"),
        "history --json, 1000": ("history", "--json", "--limit", "1000"),
        "undo --last 10 --dry-run": ("undo", "--last", "10", "--dry-run"),
    }
    figures = {f"{what} (ms)": least(partial(ask, folder, *asked, *place)) for what, asked in questions.items()}
    starts = []
    for _ in range(TRIES):
        with started(folder, *place) as (_, seconds):
            starts.append(1000 * seconds)
            figures["status (ms)"] = least(partial(ask, folder, "status", *place), 2)
    figures["start to READY (ms)"] = min(starts)
    journal = Journal(path)
    figures["rows of a batch of 16 (ms)"] = least(lambda: write(journal), BATCHES)
    journal.close()
    figures["bytes a row"] = path.stat().st_size / rows
    return figures | prune(path, folder / "inbox")


def ask(folder: Path, *arguments: str) -> None:
    """A command of the daemon; 3 says that something stays, as the rows' images do, which are not there."""
    done = run("daemon", *arguments, cwd=folder)
    assert done.returncode in (0, 3), done.stderr


def fill(path: Path, rows: int) -> None:
    """So many filings of a year, in 50 runs of 10 checkpoints; a hundredth got another name, as many are unreadable."""
    chance, journal = random.Random(1), Journal(path)
    begin, many = datetime.now(UTC) - timedelta(days=DAYS), 10_000
    for start in range(0, rows, many):
        filings = []
        for number in range(start, min(start + many, rows)):
            label, name = f"class-{chance.randrange(10)}", f"IMG_{number:07}"
            filings.append(
                Filing(
                    state=State.DONE if chance.random() < 0.99 else State.UNDONE,
                    action="move",
                    source=Path(f"/srv/photos/inbox/{name}.jpg"),
                    identity=Identity(66, number, chance.randrange(5_000_000), number),
                    sha256=f"{chance.getrandbits(256):064x}",
                    folder=Path(f"/srv/photos/sorted/{label}"),
                    filed_name=f"{name}{'_2' if number % 100 == 0 else ''}.jpg",
                    label=label,
                    confidence=chance.random(),
                    model_digest=digest(number * 10 // rows),
                    reason="truncated" if number % 100 == 1 else None,
                    run=run_name(number * 50 // rows),
                    time=begin + timedelta(days=DAYS * (number // BATCH * BATCH) / rows),
                )
            )
        journal.write_later(filings)
    journal.close()


def digest(number: int) -> str:
    return f"{number:02x}" * 32


def run_name(number: int) -> str:
    return f"20260101T{number:06}-abcdef01"


def write(journal: Journal) -> None:
    """What filing a batch writes."""
    filings = [
        Filing(
            state=State.INTENT,
            action="move",
            source=Path(f"/srv/photos/inbox/{time.time_ns()}.jpg"),
            identity=Identity(66, number, 1, 1),
            folder=Path(f"/srv/photos/sorted/class-{number % 10}"),
            filed_name=f"{number}.jpg",
            label=f"class-{number % 10}",
            confidence=0.5,
            model_digest=digest(9),
        )
        for number in range(BATCH)
    ]
    journal.write(filings)
    for filing in filings:
        filing.state = State.DONE
    journal.write_later(filings)


def prune(path: Path, inbox: Path) -> Figures:
    """How long the pruning of the older half takes, and for how long at once it keeps the daemon from its images."""
    journal, steps = Journal(path), [time.perf_counter()]
    for _ in Pruning(journal, [inbox], DAYS // 2).steps():
        steps.append(time.perf_counter())
    journal.close()
    return {"pruning, longest step (ms)": 1000 * float(np.max(np.diff(steps))), "pruning (s)": steps[-1] - steps[0]}


# --- many classes


def with_classes(folder: Path, classes: int) -> Figures:
    """What an image costs, and what it takes to go over to such a checkpoint."""
    store = WeightsStore()
    extractor = open_extractor([registry.locate(registry.EMBEDDED, None, store)], store)
    runs = [make_run(folder / "checkpoints" / str(seed), classes, extractor, seed) for seed in (1, 2)]
    opened = checkpoint.read(runs[0].folder / FILE_NAME)
    grouped = replace(opened.head, groups=np.arange(classes))
    classifier = Classifier(opened, extractor)
    features = np.random.default_rng(1).random((BATCH, extractor.width), np.float32)
    crops = [np.zeros((BATCH, each.crop, each.crop, 3), np.uint8) for each in extractor.transforms]
    figures = {
        "predicting, an image (ms)": least(lambda: classifier.predict(crops), 2 * TRIES) / BATCH,
        "its head (ms)": least(lambda: head_probabilities(opened.metadata, opened.head, features), BATCHES) / BATCH,
        "its head, grouped (ms)": least(lambda: head_probabilities(opened.metadata, grouped, features), BATCHES)
        / BATCH,
        "filing, an image (ms)": filing(folder / "desk", runs[0].classes) / BATCH,
        "until a reload serves (ms)": reloading(runs, store),
    }
    starts = []
    for _ in range(TRIES):
        with started(folder, "--checkpoint", "checkpoints") as (daemon, seconds):
            starts.append(1000 * seconds)
            use = memory(family(daemon.process.pid))
    return figures | {"start to READY (ms)": min(starts), "memory (MB)": use / (1 << 20)}


def make_run(folder: Path, classes: int, extractor: FeatureExtractor, seed: int) -> Run:
    """A checkpoint whose head is one of chance."""
    metadata = Metadata(
        mode=extractor.parts[0].name,
        parts=[PartRecord.from_backbone(part) for part in extractor.parts],
        classes=[f"class-{number}" for number in range(classes)],
        normalisation="l2",
    )
    head = Head(
        weight=np.random.default_rng(seed).standard_normal((classes, extractor.width), np.float32),
        bias=np.zeros(classes, np.float32),
        mean=np.zeros(extractor.width, np.float32),
        scale=np.ones(extractor.width, np.float32),
    )
    return Run(
        folder, checkpoint.write(make_checkpoint(metadata, head, extractor), folder / FILE_NAME), metadata.classes
    )


def filing(folder: Path, classes: Sequence[str]) -> float:
    """The milliseconds of filing a batch, each image to a class of chance, whose folder is there."""
    folder.mkdir()
    desk, chance = make_desk(folder), random.Random(1)
    journal = desk.journal()
    filer = Filer(desk.output, journal=journal)
    batches = [
        [desk.decide(desk.put(f"{batch}-{number}.jpg"), chance.choice(classes)) for number in range(BATCH)]
        for batch in range(BATCHES)
    ]
    for name in classes:
        (desk.output / name).mkdir(parents=True)
    waiting = iter(batches)
    quickest = least(lambda: filer.file(next(waiting)), BATCHES)
    journal.close()
    return quickest


def reloading(runs: Sequence[Run], store: WeightsStore) -> float:
    """The milliseconds until another checkpoint over the same backbone serves."""
    point_at(runs[-1].folder, runs[-1].digest)
    reloader = Reloader(CheckpointOptions(location=runs[0].folder.parent), store)
    reloader.first()
    others = cycle(runs)

    def go_over() -> None:
        other = next(others)
        point_at(other.folder, other.digest)
        while reloader.poll() is None:
            time.sleep(0.0005)

    quickest = least(go_over, 2 * TRIES)
    reloader.close()
    return quickest


# --- many watched folders


def with_folders(folder: Path, folders: int) -> Figures:
    """The start, and a daemon to which nothing comes."""
    folder.mkdir()
    watched = [argument for number in range(folders) for argument in ("--watch", f"inbox-{number}")]
    starts = []
    for _ in range(TRIES):
        with started(folder, *watched) as (_, seconds):
            starts.append(1000 * seconds)
    with started(folder, *watched) as (daemon, _):
        everybody = family(daemon.process.pid)
        time.sleep(REST)
        used = sum(map(ticks, everybody))
        time.sleep(IDLE_SECONDS)
        used = sum(map(ticks, everybody)) - used
        return {
            "start to READY (ms)": min(starts),
            "idle CPU (% of a core)": used / IDLE_SECONDS,  # a tick is 1/100 s
            "memory (MB)": memory(everybody) / (1 << 20),
        }


SUBJECTS: dict[str, tuple[Callable[[Path, int], Figures], Sequence[int]]] = {
    "journal": (with_journal, ROWS),
    "classes": (with_classes, CLASSES),
    "folders": (with_folders, FOLDERS),
}

if __name__ == "__main__":
    main()
