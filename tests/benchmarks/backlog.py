"""A daemon before a mountain: ``python -m tests.benchmarks.backlog``, ``--names N`` (1,000,000), ``--json FILE``.

Starts a real daemon with so many small pictures in its inbox, and looks at it for a while: how long after its start
the first one is filed, how many it files in a second, and the memory (PSS) of all its processes. Then it is stopped.
Beside it stands what another did before that had a hundredth of them; the ratio says what grows with the mountain.
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
    hill, mountain = (climb(names, options.seconds) for names in (options.names // 100, options.names))
    for name, value in mountain.items():
        print(f"{name:>22} {hill[name]:12.1f} {value:12.1f} {value / hill[name]:8.2f}")
    if options.json:
        options.json.write_text(json.dumps({"reference": hill, **mountain}, indent=1))


def climb(names: int, seconds: float) -> dict[str, float]:
    """The figures of a daemon that starts before so many pictures."""
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as name:
        folder = Path(name)
        inbox, output = folder / "inbox", folder / "sorted"
        inbox.mkdir()
        pictures = [encoded(kind) for kind in KINDS]
        for number in range(names):
            # A comment at the end makes each one another.
            (inbox / f"{number:07}.jpg").write_bytes(pictures[number % len(pictures)] + b"%012d" % number)
        began = time.monotonic()
        daemon = Daemon(folder, ["--watch", "inbox", "--threshold", "0", "--state-dir", "state"])
        wait_for(lambda: output.is_dir() and any(output.rglob("*.jpg")), "the first is filed", 10 * PATIENCE)
        first = time.monotonic()
        looks = []
        while time.monotonic() < first + seconds and _filed(output) < names:
            looks.append(memory(family(daemon.process.pid)) / (1 << 20))
            time.sleep(1)
        rate = _filed(output) / (time.monotonic() - first)
        assert daemon.terminate() == 0
    return {
        "names": float(names),
        "first_filed_s": first - began,
        "images_per_second": rate,
        "memory_first_mb": looks[0],
        "memory_most_mb": max(looks),
        "memory_last_mb": looks[-1],
    }


def _filed(output: Path) -> int:
    return sum(1 for _ in output.rglob("*.jpg"))


if __name__ == "__main__":
    main()
