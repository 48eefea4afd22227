"""Memory of archives by their size: ``python -m tests.benchmarks.archive_memory``.

Tiny pictures, hard links of a few hundred files under addresses of their own, are listed by a process that does nothing
else, and classified into a manifest by ``archive`` with a model that takes next to no time. Printed is the most that
all processes hold together (PSS): with ten times as many pictures it should be no more. The second run, which knows
them all, follows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks import small_model
from tests.pictures import KINDS, draw
from tests.processes import ROOT, family, memory

_SOURCES, _IN_FOLDER, _SIDE = 100, 1000, 32
_BETWEEN_LOOKS = 1.0
_LIST = """
import sys
from daemon.archiving.listing import Listing
print(sum(1 for _ in Listing(sys.argv[1])))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[20_000, 200_000], metavar="N")
    parser.add_argument("--listed", type=int, nargs="+", default=[20_000, 200_000], metavar="N")
    parser.add_argument("--work", type=Path, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    figures = []
    print(f"{'':10}{'pictures':>10}{'MB':>8}{'seconds':>10}")
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as temporary:
        work = (options.work or Path(temporary)).absolute()
        steps = [("list", count) for count in options.listed]
        steps += [(step, count) for count in options.pictures for step in ("archive", "again")]
        for step, count in steps:
            folder = pictures(work, count)
            megabytes, seconds = peak(_command(step, folder, work), small_model.environment(work))
            figures.append((step, count, megabytes, seconds))
            print(f"{step:10}{count:10}{megabytes:8.0f}{seconds:10.1f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def pictures(work: Path, count: int) -> Path:
    """``count`` pictures in folders of a thousand, made once."""
    folder = work / f"tiny-{count}"
    if folder.is_dir():
        return folder
    (work / "tiny").mkdir(parents=True, exist_ok=True)
    sources = [work / "tiny" / f"{kind}{seed}.jpg" for kind in KINDS for seed in range(_SOURCES)]
    for number, source in enumerate(sources):
        draw(KINDS[number // _SOURCES], number, _SIDE).save(source)
    partial = folder.with_name(f".{folder.name}")
    for number in range(count):
        inside = partial / str(number // _IN_FOLDER)
        if number % _IN_FOLDER == 0:
            inside.mkdir(parents=True)
        os.link(sources[number % len(sources)], inside / f"{number}.jpg")
    return partial.rename(folder)


def _command(step: str, folder: Path, work: Path) -> list[str]:
    if step == "list":
        return [sys.executable, "-c", _LIST, str(folder)]
    manifest = folder.with_name(f"{folder.name}-manifest-{os.getpid()}")
    given = ["--manifest", str(manifest), "--checkpoint", str(small_model.published(work))]
    given += ["--cache-dir", str(work / "cache"), *small_model.GIVEN, "--log-level", "WARNING"]
    return [sys.executable, "-m", "daemon", "archive", str(folder), *given]


def peak(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run a command to its end; return the most that its processes held together, in MB, and its seconds."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, memory(family(process.pid)))
        time.sleep(_BETWEEN_LOOKS if time.perf_counter() - started > _BETWEEN_LOOKS else _BETWEEN_LOOKS / 20)
    assert process.returncode == 0
    return most / (1 << 20), time.perf_counter() - started


if __name__ == "__main__":
    main()
