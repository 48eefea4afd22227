"""What a lesson costs: ``python -m tests.benchmarks.lesson_cost [IMAGES ...] [--json FILE]``.

For runs that keep the features of 1,000, 10,000 and 100,000 images, each ``python -m trainer learn`` is a process of
its own with 30 labelled images that it has to read and embed: seconds on the clock, seconds of CPU time and the highest
resident memory, beside what they should be at most. The features are those of scenes with noise of their own, as many
times as needed, and the recipe is the one that wins most often, the mean of gradient and logistic.

Measured on two cores: 2.8 s on the clock and 288 MiB for 1,000 images (1.1 s of that imports, 0.6 s embedding), 6.6 s
and 354 MiB for 10,000, 47 s for 100,000; of CPU time about as much. Since then it takes 50 s of CPU time and 1,038 MiB
(1,411 before) for 100,000.

With ``--arrivals N``, pictures come one by one to a daemon, first alone and then while lessons of 10,000 images are
given one after the other with the lowest priority: the median and the 99th percentile of the milliseconds from the
close of a picture to its being filed, which should at most double. On a machine that does anything else meanwhile, the
figures are that machine's; CPU seconds change the least. Measured there with 80 arrivals: median 111 ms and 99 % within
233 ms alone, 116 and 240 ms beside lessons.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models import registry
from models.checkpoints import checkpoint as checkpoints
from tests.benchmarks import lesson_days
from tests.benchmarks.labelled_sets import FOLDER
from tests.benchmarks.latency import arrive, started
from tests.benchmarks.lesson_days import STORE, Images, data_set, quiet
from trainer.fit import fit
from trainer.fitted import FitOptions
from trainer.heads.recipe import Recipe
from trainer.learning.files import features_figures, kept_record, read_features, write_features
from trainer.learning.kept import KeptFeatures
from trainer.measuring.split_file import COLUMNS, FILE_NAME, HELD_OUT
from trainer.runs.folder import METRICS

#: Gives a lesson, and prints its highest resident memory in the end: what the kernel says of a child that is gone
#: counts the memory of its parent, too.
LESSON = """
import sys
from trainer.__main__ import main
main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
ROOT = Path(__file__).resolve().parents[2]
#: The most seconds on the clock for so many images, and the most MiB, where it is promised.
MOST_SECONDS = {1_000: 3, 10_000: 10, 100_000: 60}
MOST_MEBIBYTES = {10_000: 400}
ANSWERS, FOLDS = 30, 5


@dataclass(frozen=True)
class Cost:
    """One lesson."""

    images: int
    seconds: float
    cpu_seconds: float
    mebibytes: float
    published: bool


def make_runs(folder: Path, images: Images, count: int) -> Path:
    """Make a folder of runs, the published one of which keeps the features of ``count`` images."""
    first = {int(row): int(images.labels[row]) for row in range(0, len(images.labels), 50)}
    data = data_set(folder / "data", images, first)
    options = FitOptions(
        data_dir=data,
        mode=registry.EMBEDDED,
        output_dir=folder / "runs",
        cache_dir=STORE.root,
        publish="always",
    )
    with quiet():
        run = fit(options).run
    metadata = checkpoints.load(run).metadata
    small = read_features(run, kept_record(run), metadata)
    random = np.random.default_rng(count)
    rows = random.integers(0, len(images.labels), count)
    features = images.features[rows].astype(np.float16)
    for start in range(0, count, 1000):  # noise that leaves the classes apart
        block = features[start : start + 1000]
        block *= random.uniform(0.5, 1.5, block.shape).astype(np.float16)
    hashes = np.stack([np.frombuffer(hashlib.sha256(b"%d" % number).digest(), np.uint8) for number in range(count)])
    labels = images.labels[rows]
    predicted = np.where(random.random(count) < 0.1, (labels + 1) % len(images.classes), labels)
    folds = random.integers(0, FOLDS, count)
    kept = KeptFeatures(
        features,
        labels,
        predicted,
        folds,
        np.arange(count),
        hashes,
        small.classes,
        Recipe(kind="mean", strength=3e-3),
        FOLDS,
        small.seed,
    )
    replace_features(run, kept)
    return folder / "runs"


def replace_features(run: Path, kept: KeptFeatures) -> None:
    """Let a run keep other features, and the predictions for them."""
    (run / "features.safetensors").unlink()
    record = write_features(run, kept, checkpoints.load(run).metadata.parts, None)
    metrics = json.loads((run / METRICS).read_text(encoding="utf-8"))
    (run / METRICS).write_text(json.dumps(metrics | features_figures(record)), encoding="utf-8")
    with (run / FILE_NAME).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for number, sha256 in enumerate(kept.sha256):
            label, predicted = (kept.classes[each[number]] for each in (kept.labels, kept.predicted))
            true = 0.9 if label == predicted else 0.05
            fold = int(kept.folds[number])
            rows.writerow([f"{label}/{number}.jpg", label, sha256, HELD_OUT, fold, predicted, "0.9", f"{true}", ""])


def write_labels(file: Path, images: Images, first: int) -> Path:
    """Label some images, from the one at a position on."""
    items = [
        {"path": str(images.paths[row]), "label": images.classes[images.labels[row]], "how": "moved"}
        for row in range(first, first + ANSWERS * 7, 7)
    ]
    file.write_text(json.dumps(items), encoding="utf-8")
    return file


def learn(runs: Path, labels: Path, cache: Path, priority: int = 0) -> Cost:
    """Give a lesson in a process of its own; a cache without features is the first time for these images."""
    command = [sys.executable, "-c", LESSON, "learn", "--json", "--checkpoints", str(runs), "--labels", str(labels)]
    started_at = time.perf_counter()
    process = subprocess.Popen(
        ["nice", "-n", str(priority), *command, "--cache-dir", str(cache)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    *result_lines, kibibytes = output.decode().splitlines()
    result = json.loads("\n".join(result_lines))
    images = int(kept_record(next(path for path in runs.iterdir() if (path / METRICS).exists())).images)
    seconds = time.perf_counter() - started_at
    return Cost(images, seconds, usage.ru_utime + usage.ru_stime, int(kibibytes) / 1024, bool(result["published"]))


def fresh_cache(folder: Path) -> Path:
    """A cache with the weights and the graph, and without the features of images."""
    for name in ("weights", "graphs"):
        shutil.copytree(FOLDER / "weights" / name, folder / name)
    return folder


def measure(images: Images, count: int) -> Cost:
    """Give one lesson for so many images."""
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as scratch:
        folder = Path(scratch)
        runs = make_runs(folder, images, count)
        return learn(runs, write_labels(folder / "labels.json", images, 1), fresh_cache(folder / "cache"))


def latencies(images: Images, arrivals: int) -> dict[str, tuple[float, float]]:
    """The median and the 99th percentile in milliseconds, alone and beside lessons."""
    figures = {}
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as scratch:
        folder = Path(scratch)
        runs = make_runs(folder, images, 10_000)
        for name in ("alone", "beside lessons"):
            place = folder / name.replace(" ", "-")
            place.mkdir()
            with started(place, "--checkpoint", str(runs)), lessons(runs, images, folder, given=name != "alone"):
                times = sorted(1000 * seconds for seconds in arrive(place, arrivals))
            figures[name] = statistics.median(times), statistics.quantiles(times, n=100, method="inclusive")[98]
    return figures


@contextmanager
def lessons(runs: Path, images: Images, folder: Path, *, given: bool) -> Iterator[None]:
    """Give lessons one after the other, each with other labels, until the block is left."""
    ends = threading.Event()

    def give() -> None:
        for number in range(1000):
            if ends.is_set():
                return
            learn(runs, write_labels(folder / "labels.json", images, number), STORE.root, priority=19)

    thread = threading.Thread(target=give)
    if given:
        thread.start()
    try:
        yield
    finally:
        ends.set()
        if given:
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", type=int, metavar="IMAGES")
    parser.add_argument("--arrivals", type=int, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    images = lesson_days.read("intel_scenes6")
    figures: dict[str, object] = {}
    sizes = options.images or ([] if options.arrivals else list(MOST_SECONDS))
    if sizes:
        print(f"{'images':>9}{'seconds':>9}{'at most':>9}{'of CPU':>9}{'MiB':>7}{'at most':>9}  published")
    for count in sizes:
        cost = measure(images, count)
        most = MOST_SECONDS.get(count, "-"), MOST_MEBIBYTES.get(count, "-")
        print(
            f"{count:9}{cost.seconds:9.1f}{most[0]:>9}{cost.cpu_seconds:9.1f}{cost.mebibytes:7.0f}{most[1]:>9}"
            f"  {'yes' if cost.published else 'no'}",
            flush=True,
        )
        figures[str(count)] = asdict(cost)
    if options.arrivals:
        for name, (median, high) in latencies(images, options.arrivals).items():
            print(f"{name:>20}: median {median:.0f} ms, 99 % within {high:.0f} ms", flush=True)
            figures[name] = {"median_ms": median, "p99_ms": high}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
