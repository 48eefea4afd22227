"""A daemon before a mountain: ``python -m tests.benchmarks.backlog``, ``--names N`` (1,000,000), ``--json FILE``.

Starts a real daemon with so many small pictures in its inbox, and looks at it for a while: how long after its start
the first one is filed, how many it files in a second, and the memory (PSS) of all its processes. Then it is stopped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from tests.benchmarks.day import encoded
from tests.pictures import KINDS
from tests.processes import PATIENCE, Daemon, family, memory, wait_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long it is looked at")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as folder:
        figures = climb(Path(folder), options.names, options.seconds)
    for name, value in figures.items():
        print(f"{name:>22} {value:12.1f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def climb(folder: Path, names: int, seconds: float) -> dict[str, float]:
    """The figures of a daemon that starts before so many pictures."""
    inbox, output = folder / "inbox", folder / "sorted"
    inbox.mkdir()
    pictures = [encoded(kind) for kind in KINDS]
    for number in range(names):
        # A comment at the end makes each one another.
        (inbox / f"{number:07}.jpg").write_bytes(pictures[number % len(pictures)] + b"%012d" % number)
    began = time.monotonic()
    daemon = Daemon(folder, ["--watch", "inbox", "--threshold", "0", "--state-dir", "state"])
    wait_for(lambda: output.is_dir() and any(output.rglob("*.jpg")), "the first is filed", 10 * PATIENCE)
    first = time.monotonic() - began
    before = _filed(output)
    looks = []
    while time.monotonic() < began + first + seconds:
        looks.append(memory(family(daemon.process.pid)) / (1 << 20))
        time.sleep(1)
    rate = (_filed(output) - before) / seconds
    assert daemon.terminate() == 0
    return {
        "names": float(names),
        "first_filed_s": first,
        "images_per_second": rate,
        "memory_first_mb": looks[0],
        "memory_most_mb": max(looks),
        "memory_last_mb": looks[-1],
    }


def _filed(output: Path) -> int:
    return sum(1 for _ in output.rglob("*.jpg"))


if __name__ == "__main__":
    main()
