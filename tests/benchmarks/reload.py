"""What going over to another model costs: ``python -m tests.benchmarks.reload``, ``--json FILE`` for the figures.

First a reloader alone: how long a published checkpoint takes until it serves, and for how long the work loop is kept
from its images by that. Then a daemon that has nothing else to do: how long it takes until it serves what is published,
with events and without. Then one with a stream of pictures: how long a picture waits until it is in its folder, as
usual, while heads are published over the same backbone, and while the backbones change, too; and while the same files
are written and flushed where no daemon looks, since a picture moves once the disk has its row of the journal, and a
disk flushes for one after the other. The three that are compared take turns. On a machine that does anything else
meanwhile, the figures are that machine's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

from daemon.journal.journal import Journal, read_history
from daemon.reloading.loader import CheckpointOptions
from daemon.reloading.reloader import Reloader
from daemon.state import journal_path
from models import registry
from models.inference.runtime import open_extractor
from models.weights.store import WeightsStore
from tests.conftest import random_weights
from tests.processes import Daemon, daemon, wait_for
from tests.publishing import Heads, Run, Stream, make_runs, point_at

#: Publications of each sort, and how many before it is another's turn; seconds between two pictures, and publications.
TIMES, TURN, EVERY, PAUSE = 40, 10, 0.1, 1.0

Row = dict[str, float | str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as name:
        folder = Path(name)
        store = WeightsStore()
        lite = registry.locate(registry.EMBEDDED, None, store)
        small = registry.locate("mobilenet_small", str(random_weights("mobilenet_v3_small", folder)), store)
        same = Heads(open_extractor([lite], store), folder / "examples")
        other = Heads(open_extractor([lite, small], store), folder / "examples")
        heads = make_runs(folder / "heads", [same])
        models = make_runs(folder / "models", [same, other])
        rows = [
            *alone(folder, store, heads, models, options.times),
            *idle(folder, heads, min(options.times, TIMES)),
            *streamed(folder, heads, models, options.times),
        ]
    for row in rows:
        print(f"{row['what']:>52}  {row['p50_ms']:9.1f} ms  {row['p99_ms']:9.1f} ms  {row['most_ms']:9.1f} ms")
    usual, flushed, at_heads = (
        next(row for row in rows if row["what"] == f"a picture waits, {what}") for what in (USUAL, FLUSHED, HEADS)
    )
    ratio = float(at_heads["most_ms"]) / float(usual["p99_ms"])
    to_flushed = float(at_heads["most_ms"]) / float(flushed["most_ms"])
    print(f"the longest wait while heads are published is {ratio:.2f} times the usual p99 (at most 2),")
    print(f"and {to_flushed:.2f} times the longest wait while the same is flushed and nothing published")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "ratio": ratio, "to_flushed": to_flushed}, indent=1))


def figures(what: str, seconds: Sequence[float]) -> Row:
    """The median, the 99th percentile and the most, in ms."""
    ordered = sorted(1000 * each for each in seconds)
    return {
        "what": what,
        "p50_ms": statistics.median(ordered),
        "p99_ms": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "most_ms": ordered[-1],
    }


def alone(folder: Path, store: WeightsStore, heads: Sequence[Run], models: Sequence[Run], times: int) -> list[Row]:
    """From the publication to the new classifier, and the longest that a poll takes meanwhile."""
    rows = []
    for what, runs in (("head only", heads), ("with its backbones", models)):
        journal = Journal(folder / f"{what}.sqlite")
        point_at(runs[0].folder, runs[0].digest)
        reloader = Reloader(CheckpointOptions(location=runs[0].folder.parent), store, journal)
        reloader.first()
        until, busy = [], []
        for run in islice(cycle([*runs[1:], runs[0]]), times):
            point_at(run.folder, run.digest)
            began, longest, newer = time.perf_counter(), 0.0, None
            while newer is None:
                start = time.perf_counter()
                newer = reloader.poll()
                longest = max(longest, time.perf_counter() - start)
                time.sleep(0.0005)
            until.append(time.perf_counter() - began)
            busy.append(longest)
        journal.close()
        rows += [figures(f"until it serves, {what}", until), figures(f"the loop is kept, {what}", busy)]
    return rows


def idle(folder: Path, heads: Sequence[Run], times: int) -> list[Row]:
    """From the publication of a head to the sentence that it was taken over, at any moment of the daemon's second."""
    rows = []
    for what, arguments in (("events", ()), ("polling", ("--poll",))):
        point_at(heads[0].folder, heads[0].digest)
        place = folder / f"idle-{what}"
        place.mkdir()
        took = []
        with daemon(place, "--checkpoint", str(heads[0].folder.parent), "--state-dir", "state", *arguments) as running:
            for number, run in enumerate(islice(cycle([*heads[1:], heads[0]]), times), 1):
                time.sleep(1.0 + number / times)
                began = time.perf_counter()
                point_at(run.folder, run.digest)
                while running.log().count("took over") < number:
                    time.sleep(0.001)
                took.append(time.perf_counter() - began)
            running.terminate()
        rows.append(figures(f"an idle daemon takes over a head, {what}", took))
    return rows


USUAL, FLUSHED, HEADS, MODELS = (
    "nothing published",
    "the same flushes, nothing published",
    "heads published",
    "backbones published",
)


def streamed(folder: Path, heads: Sequence[Run], models: Sequence[Run], times: int) -> list[Row]:
    """How long pictures wait from their coming to their filing, by what is done meanwhile."""
    inbox, output, state = folder / "inbox", folder / "sorted", folder / "state"
    checkpoints = heads[0].folder.parent
    for run in models:
        run.folder.rename(checkpoints / f"both-{run.folder.name}")
    both = [Run(checkpoints / f"both-{run.folder.name}", run.digest, run.classes) for run in models]
    unseen = [Run(folder / "unseen" / run.folder.name, run.digest, run.classes) for run in heads]
    (folder / "unseen").mkdir()
    point_at(heads[0].folder, heads[0].digest)
    waits: dict[str, list[float]] = {what: [] for what in (USUAL, FLUSHED, HEADS, MODELS)}
    spans: list[tuple[str, float, float]] = []
    arguments = ("--threshold", "0", "--checkpoint", str(checkpoints), "--state-dir", str(state))
    with daemon(folder, *arguments) as running:
        stream = Stream(inbox, folder / "spare", EVERY)
        stream.start()
        wait_for(lambda: len(stream.put) > 20, "the first pictures")
        in_turn: dict[str, Iterator[Run | None]] = {
            USUAL: cycle([None]),
            FLUSHED: cycle(unseen),
            HEADS: cycle([*heads[1:], heads[0]]),
        }
        turns = [
            (what, runs, min(TURN, times - done)) for done in range(0, times, TURN) for what, runs in in_turn.items()
        ]
        for what, runs, count in [*turns, (MODELS, cycle([*both[1:], both[0]]), times)]:
            begin = time.time()
            for each in islice(runs, count):
                publish(running, each, seen=what in (HEADS, MODELS))
            spans.append((what, begin, time.time()))
        stream.stop()
        wait_for(lambda: not any(inbox.iterdir()), "an empty inbox")
        torch = "torch" in Path(f"/proc/{running.process.pid}/maps").read_text()
        running.terminate()
    print(f"the daemon has {'' if torch else 'never '}loaded torch")
    filed = {row.source.name: moved(row.destination) for row in read_history(journal_path(state, output))}
    for what, begin, end in spans:
        waits[what] += [filed[name] - put for name, put in stream.put.items() if begin <= put < end]
    return [figures(f"a picture waits, {what}", seconds) for what, seconds in waits.items()]


def moved(picture: Path | None) -> float:
    """When a picture came into its folder, by the kernel's clock, which ticks every few ms."""
    assert picture is not None
    return picture.stat().st_ctime


def publish(running: Daemon, run: Run | None, *, seen: bool) -> None:
    """Publish a run, if there is one, and see it taken over, if it is seen; then let some pictures pass."""
    before = running.log().count("took over")
    if run is not None:
        point_at(run.folder, run.digest)
    if seen:
        assert run is not None
        wait_for(lambda: running.log().count("took over") > before, f"took over {run.digest}")
    time.sleep(PAUSE)


if __name__ == "__main__":
    main()
