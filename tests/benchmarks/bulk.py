"""Sorting a folder, against the usual script and against the bound: ``python -m tests.benchmarks.bulk``.

Two folders, 200 photographs of 12 MP and 3,000 pictures of 150 px, are sorted by ``python -m daemon sort`` and by the
two usual scripts (`tests.benchmarks.usual`), with the same weights and the same head. The rounds alternate; medians are
printed. Every time is that of a whole process, its start included. The bound is what the arithmetic alone takes:
processor time of decoding plus processor time of the backbones, each measured alone in one thread in the same run,
divided by the cores. ``--json FILE`` writes all of it; ``--work DIR`` keeps the pictures for the next time.

MobileNetV3-Large and CLIP ViT-B/32 have random weights, which speed does not depend on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

import numpy as np

from models.classifier import open_classifier
from models.decoding.images import Crop, decode
from models.inference.runtime import cores
from models.weights.store import WeightsStore
from tests.benchmarks.features import random_clip, random_mobilenet
from tests.benchmarks.photographs import photographs, small_pictures, training_set
from tests.conftest import SHARED_DATA
from tests.processes import ROOT, environment, family, memory

#: How many pictures the bound is measured on.
SAMPLE = 60
MODES = ("efficientnet_lite0", "mobilenet", "hybrid")


@dataclass
class Row:
    """One folder sorted with one mode: seconds by who sorted, each a list over the rounds, and what came out."""

    folder: str
    mode: str
    images: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    bound: float = 0.0
    decode_ms: float = 0.0
    model_ms: float = 0.0
    same_labels: float = 0.0
    memory_mb: float = 0.0

    def median(self, who: str) -> float:
        return statistics.median(self.seconds[who])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=200)
    parser.add_argument("--small", type=int, default=3000)
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if not SHARED_DATA.is_dir():
        print(f"There is nothing to measure: the shared pictures are not in {SHARED_DATA}.")
        return
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as temporary:
        work = (options.work or Path(temporary)).absolute()
        folders = {"12 MP": work / f"photographs-{options.photographs}", "150 px": work / f"small-{options.small}"}
        photographs(folders["12 MP"], options.photographs)
        small_pictures(folders["150 px"], options.small)
        runs = {mode: fitted(mode, work) for mode in options.modes}
        with Outputs(work) as outputs:
            rows = [
                measure(Row(name, mode, len(list(folder.iterdir()))), folder, runs[mode], work, outputs, options.rounds)
                for name, folder in folders.items()
                for mode in options.modes
            ]
    show(rows)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def fitted(mode: str, work: Path) -> Path:
    """A run folder with a head for eight classes, on features of this mode."""
    output = work / f"checkpoints-{mode}"
    if not output.is_dir():
        data = work / "data"
        if not data.is_dir():
            training_set(data, 100)
        weights = []
        if mode != "efficientnet_lite0":
            weights += ["--weights", f"mobilenet={random_mobilenet(work)}"]
        if mode == "hybrid":
            weights += ["--weights", f"clip={random_clip(work)}"]
        command = ["-m", "trainer", "fit", "--data-dir", str(data), "--mode", mode, "--output-dir", str(output)]
        _python([*command, "--publish", "always", "--cache-dir", str(work / "cache"), *weights])
    return output


class Outputs:
    """Folders to sort into, one for each run.

    The copies are emptied when a run is over, and deleted at the very end: for half a minute ext4 reuses no inode that
    was deleted, and whoever makes new files then looks through all of them, for up to 1 ms a file.
    """

    def __init__(self, work: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=work, prefix="outputs-")
        self._numbers = count()

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @contextmanager
    def another(self) -> Iterator[Path]:
        """One that is not there yet."""
        output = Path(self._folder.name, str(next(self._numbers)))
        yield output
        for path in output.rglob("*"):
            if path.is_file():
                os.truncate(path, 0)


def measure(row: Row, folder: Path, checkpoint: Path, work: Path, outputs: Outputs, rounds: int) -> Row:
    """Sort a folder in every manner, round by round."""
    given = ["--input-dir", str(folder), "--checkpoint", str(checkpoint), "--cache-dir", str(work / "cache")]
    contenders = {
        "ours": ["-m", "daemon", "sort", *given, "--threshold", "0", "--json", "--log-level", "WARNING"],
        "batch 1": ["-m", "tests.benchmarks.usual", *given],
        "DataLoader": ["-m", "tests.benchmarks.usual", *given, "--loader"],
    }
    labels: dict[str, dict[str, str]] = {}
    for _ in range(rounds):
        for who, command in contenders.items():
            with outputs.another() as output:
                started = time.perf_counter()
                said = _python([*command, "--output-dir", str(output)])
                row.seconds.setdefault(who, []).append(time.perf_counter() - started)
            labels[who] = _labels(said)
    row.same_labels = float(np.mean([labels["ours"].get(name) == label for name, label in labels["batch 1"].items()]))
    row.decode_ms, row.model_ms = arithmetic(folder, checkpoint, work)
    row.bound = (row.decode_ms + row.model_ms) / 1000 * row.images / cores()
    row.memory_mb = peak_memory(contenders["ours"], outputs)
    return row


def _python(arguments: list[str]) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, check=True, text=True).stdout


def _labels(said: str) -> dict[str, str]:
    content = json.loads(said)
    if "images" not in content:
        return dict(content)
    return {Path(image["file"]).name: image["class"] for image in content["images"]}


def arithmetic(folder: Path, checkpoint: Path, work: Path) -> tuple[float, float]:
    """Milliseconds of processor time for an image: of decoding it, and of the backbones; one thread, nothing else."""
    classifier = open_classifier(checkpoint, WeightsStore(work / "cache"), threads=1)
    paths = sorted(folder.iterdir())
    paths = paths[:: max(1, len(paths) // SAMPLE)]
    decoding = predicting = math.inf
    for _ in range(3):  # the first reads the files into memory, and warms up
        crops: list[list[Crop]] = []
        started = time.process_time()
        for path in paths:
            with path.open("rb") as file:
                crops.append(decode(file, classifier.transforms))
        decoding = min(decoding, time.process_time() - started)
        batches = [np.stack(part) for part in zip(*crops, strict=True)]
        started = time.process_time()
        classifier.probabilities(batches)
        predicting = min(predicting, time.process_time() - started)
    return 1000 * decoding / len(paths), 1000 * predicting / len(paths)


def peak_memory(command: list[str], outputs: Outputs) -> float:
    """The most that all processes of ours hold together (PSS), in MB; in a run of its own, since looking costs."""
    most = 0
    with outputs.another() as output:
        command = [sys.executable, *command, "--output-dir", str(output)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL)
        while process.poll() is None:
            most = max(most, memory(family(process.pid)))
            time.sleep(0.2)
    return most / (1 << 20)


def show(rows: list[Row]) -> None:
    """The table: seconds, images/s, and ours against the others."""
    print(f"medians of {len(next(iter(rows[0].seconds.values())))} rounds, {cores()} cores; whole processes\n")
    print(
        f"{'pictures':14}{'backbone':20}{'ours':>9}{'images/s':>10}{'batch 1':>10}{'DataLoader':>12}{'bound':>8}"
        f"{'x b. 1':>8}{'x loader':>10}{'/ bound':>9}{'labels':>8}{'MB':>6}"
    )
    for row in rows:
        ours = row.median("ours")
        print(
            f"{row.images:5} {row.folder:8}{row.mode:20}"
            f"{ours:7.1f} s{row.images / ours:10.1f}{row.median('batch 1'):8.1f} s"
            f"{row.median('DataLoader'):10.1f} s{row.bound:6.1f} s{row.median('batch 1') / ours:8.1f}"
            f"{row.median('DataLoader') / ours:10.1f}{ours / row.bound:9.2f}{row.same_labels:8.1%}{row.memory_mb:6.0f}"
        )
    print("\nx: how many times as fast; labels: the share that is the same as with the full-size decode")
    for row in rows:
        print(f"{row.folder:10}{row.mode:20}decode {row.decode_ms:.1f} ms, model {row.model_ms:.1f} ms an image")


if __name__ == "__main__":
    main()
