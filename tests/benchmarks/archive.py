"""Archives by one machine's engine and by Ray, against ``sort``: ``python -m tests.benchmarks.archive``.

The same pictures of 150 px are sorted by ``sort``, and classified into a manifest by ``archive --engine local`` and
``archive --engine ray``, each in a process of its own, its start included; the rounds alternate, and medians are
printed. Beside the time by the clock stands that of the processors, which says the same on a machine that has other
work: of all processes, those of Ray too. The second run of a finished job follows.
``--memory N`` then measures the most memory (PSS) of each engine with so many pictures and with a tenth of them, for
``--memory-of``. ``--json FILE`` writes all of it; ``--work DIR`` keeps the pictures for the next time.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from models.inference.runtime import cores
from tests.benchmarks.bulk import Outputs, fitted
from tests.benchmarks.photographs import small_pictures
from tests.conftest import SHARED_DATA
from tests.processes import ROOT, children, environment, family, memory, ticks

_PR_SET_CHILD_SUBREAPER = 36
#: Seconds between two looks at the processes, of whose time the last part is missed.
_BETWEEN_LOOKS = 0.3
ENGINES = ("local", "ray")


@dataclass
class Row:
    """What one of them took, by round: seconds, seconds of processors, and those of a second run."""

    who: str
    seconds: list[float] = field(default_factory=list)
    processors: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)

    def median(self, what: str) -> float:
        return float(statistics.median(getattr(self, what) or [0.0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, default=0, metavar="N")
    parser.add_argument("--memory-of", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--work", type=Path, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if not SHARED_DATA.is_dir():
        print(f"There is nothing to measure: the shared pictures are not in {SHARED_DATA}.")
        return
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as temporary:
        work = (options.work or Path(temporary)).absolute()
        checkpoint = fitted("efficientnet_lite0", work)
        rows = compare(checkpoint, work, options.pictures, options.rounds) if options.rounds else []
        peaks = [
            (engine, count, peak_memory(engine, checkpoint, work, count))
            for engine in options.memory_of
            for count in (options.memory // 10, options.memory)
            if count
        ]
    show(rows, options.pictures, peaks)
    if options.json:
        figures = {"pictures": options.pictures, "rows": [asdict(row) for row in rows], "memory": peaks}
        options.json.write_text(json.dumps(figures, indent=1))


def compare(checkpoint: Path, work: Path, count: int, rounds: int) -> list[Row]:
    """Let all do the same pictures, round by round."""
    pictures = work / f"small-{count}"
    small_pictures(pictures, count)
    rows = [Row(who) for who in ("sort", *ENGINES)]
    given = ["--checkpoint", str(checkpoint), "--cache-dir", str(work / "cache"), "--threshold", "0", "--json"]
    with Outputs(work) as outputs:
        for _ in range(rounds):
            for row in rows:
                with outputs.another() as output:
                    if row.who == "sort":
                        command = ["sort", "--input-dir", str(pictures), "--output-dir", str(output), *given]
                    else:
                        command = ["archive", str(pictures), "--manifest", str(output), "--engine", row.who, *given]
                    seconds, processors, _ = run(command)
                    row.seconds.append(seconds)
                    row.processors.append(processors)
                    if row.who != "sort":
                        seconds, _, said = run(command)
                        assert json.loads(said)["known"] == count
                        row.again.append(seconds)
    return rows


def run(arguments: Sequence[str]) -> tuple[float, float, str]:
    """Run a command to its end; return its seconds, the seconds of processors of all its processes, and its output."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "daemon", *arguments, "--log-level", "WARNING"]
    used: dict[int, int] = {}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=said)
        while process.poll() is None:
            # Waiting for children tells nothing of those of Ray, which does not wait for its own.
            used |= {pid: ticks(pid) for pid in family(process.pid)}
            time.sleep(_BETWEEN_LOOKS)
        seconds = time.perf_counter() - started
        _wait_for_adopted()
        assert process.returncode == 0
        said.seek(0)
        return seconds, sum(used.values()) / os.sysconf("SC_CLK_TCK"), said.read()


def _wait_for_adopted() -> None:
    """Wait for what Ray left to end, which is ours since its parent ended."""
    with suppress(ChildProcessError):
        while children(os.getpid()):
            os.waitpid(-1, 0)
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def peak_memory(engine: str, checkpoint: Path, work: Path, count: int) -> float:
    """The most that all processes of a job hold together (PSS), in MB."""
    pictures, manifest = work / f"small-{count}", work / "manifest-of-memory"
    small_pictures(pictures, count)
    command = ["archive", str(pictures), "--manifest", str(manifest), "--engine", engine, "--checkpoint"]
    command += [str(checkpoint), "--cache-dir", str(work / "cache"), "--threshold", "0", "--log-level", "WARNING"]
    process = subprocess.Popen([sys.executable, "-m", "daemon", *command], cwd=ROOT, env=environment())
    most = 0
    while process.poll() is None:
        most = max(most, memory(family(process.pid)))
        time.sleep(_BETWEEN_LOOKS)
    _wait_for_adopted()
    shutil.rmtree(manifest)
    assert process.returncode == 0
    return most / (1 << 20)


def show(rows: Sequence[Row], count: int, peaks: Sequence[tuple[str, int, float]]) -> None:
    """The table, each against ``sort`` and the local engine."""
    if rows:
        sort, local = rows[0], rows[1]
        print(f"{count} pictures, medians of {len(sort.seconds)} rounds, {cores()} cores; whole processes\n")
        titles = ("seconds", "images/s", "CPU ms", "/ sort", "/ local", "CPU", "again")
        print(f"{'':8}" + "".join(f"{title:>10}" for title in titles))
    for row in rows:
        seconds, processors = row.median("seconds"), row.median("processors")
        print(
            f"{row.who:8}{seconds:10.1f}{count / seconds:10.1f}{1000 * processors / count:10.2f}"
            f"{sort.median('seconds') / seconds:10.2f}{local.median('seconds') / seconds:10.2f}"
            f"{local.median('processors') / processors:10.2f}{row.median('again'):10.1f}"
        )
    for engine, pictures, megabytes in peaks:
        print(f"{engine:8}{pictures:9} pictures: {megabytes:6.0f} MB")
    if rows:
        print(
            "\n/: how many times as fast; CPU ms: of all cores, for an image; again: the second run, which reads none"
        )


if __name__ == "__main__":
    main()
