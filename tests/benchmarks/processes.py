"""Fine-tuning by one process and by several of torchrun, in turn.

``python -m tests.benchmarks.processes [--data DIR] [--count 2] [--rounds 2] [--epochs 2] [--json FILE]``. Without
``--data`` it is the ants and bees of hymenoptera2. The seconds of an epoch are those of the run's ``history.csv``, the
median of all rounds: decoding, training and checking. The CPU time, features and reports included, and the resident
memory of all processes together are of a whole fit. The losses of both are printed beside each other: they are the same
but for rounding.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from models import registry
from models.inference.runtime import cores
from tests.conftest import SHARED_DATA
from tests.processes import family, memory

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Run:
    """One fit: the seconds and the held-out losses of its epochs, seconds of CPU time, its highest memory in MiB."""

    epoch_seconds: list[float]
    losses: list[float]
    cpu_seconds: float
    mebibytes: float


def main() -> None:
    """Print a line for each number of processes, and write all as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED_DATA / "hymenoptera2", help="a folder of class folders")
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runs: dict[int, list[Run]] = {1: [], options.count: []}
    with tempfile.TemporaryDirectory() as folder:
        fit(1, options.data, 1, Path(folder))  # exports the graph and computes the features
        for _ in range(options.rounds):
            for count, those in runs.items():
                those.append(fit(count, options.data, options.epochs, Path(folder)))
    print(f"{cores()} cores, {os.getloadavg()[0]:.1f} processes waiting or running")
    print(f"{'processes':>9}{'s/epoch':>9}{'CPU s':>9}{'MiB':>7}  held-out losses of the last round")
    for count, those in runs.items():
        seconds = median(value for run in those for value in run.epoch_seconds)
        cpu, mebibytes = median(run.cpu_seconds for run in those), max(run.mebibytes for run in those)
        print(f"{count:9}{seconds:9.1f}{cpu:9.1f}{mebibytes:7.0f}  {those[-1].losses}")
    if options.json:
        options.json.write_text(json.dumps({count: [asdict(run) for run in those] for count, those in runs.items()}))


def fit(count: int, data: Path, epochs: int, scratch: Path) -> Run:
    """Fine-tune in so many processes; in one, without torchrun."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    arguments = ["fit", "--data-dir", str(data), "--mode", registry.EMBEDDED, "--publish", "never", "--patience", "0"]
    arguments += ["--fine-tune", "--ft-epochs", str(epochs), "--cache-dir", str(scratch / "cache")]
    runs = Path(tempfile.mkdtemp(dir=scratch))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        [sys.executable, *torchrun, "-m", "trainer", *arguments, "--output-dir", str(runs)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        highest = _highest_memory(running)
    assert running.returncode == 0, f"the fit by {count} processes failed"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    (history,) = runs.glob("*/history.csv")
    with history.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["stage"] == "fine-tune"]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(
        [float(row["seconds"]) for row in rows], [float(row["held_out_loss"]) for row in rows], cpu, highest / 2**20
    )


def _highest_memory(running: subprocess.Popen[bytes]) -> int:
    """Return the most that a process and all that it started had at once, in bytes, looked at each second."""
    highest = 0
    while running.poll() is None:
        highest = max(highest, memory(family(running.pid)))
        time.sleep(1)
    return highest


if __name__ == "__main__":
    main()
