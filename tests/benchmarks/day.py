"""A day compressed: ``python -m tests.benchmarks.day``, ``--images N`` (100,000), ``--json FILE`` for the figures.

Feeds small pictures, no two alike, to a real daemon as fast as it takes them, and looks at it every now and then: the
memory (PSS) and the open descriptors of all its processes, and the size of its journal.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from daemon.state import journal_path
from tests.pictures import KINDS, draw
from tests.processes import daemon, descriptors, family, memory, wait_for

#: So many pictures are in the inbox at most; it is looked at the daemon so many times; the first tenth warms it up.
AHEAD, LOOKS, WARM = 500, 100, 0.1
#: The side of a small picture, in pixels.
SIDE = 48


@dataclass
class Look:
    """The daemon after it has filed so many images; sizes in bytes."""

    images: int
    memory: int
    descriptors: int
    journal: int


@dataclass
class Day:
    """All looks, and what they come to."""

    images: int
    seconds: float
    looks: list[Look]

    @property
    def _warm(self) -> list[Look]:
        return [look for look in self.looks if look.images >= WARM * self.images]

    @property
    def memory_slope(self) -> float:
        """By how many bytes the memory grows an image, once warm: the slope of the line through all looks."""
        slope, _ = np.polyfit([look.images for look in self._warm], [look.memory for look in self._warm], 1)
        return float(slope)

    @property
    def descriptors_more(self) -> int:
        """The most that were open, beyond those at the first look when warm."""
        return max(look.descriptors for look in self._warm) - self._warm[0].descriptors

    @property
    def journal_per_image(self) -> float:
        """By how many bytes the journal grows an image."""
        first, last = self._warm[0], self._warm[-1]
        return (last.journal - first.journal) / (last.images - first.images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as folder:
        day = feed(Path(folder), options.images)
    figures = {
        "images": day.images,
        "images_per_second": day.images / day.seconds,
        "memory_first_mb": day.looks[0].memory / (1 << 20),
        "memory_last_mb": day.looks[-1].memory / (1 << 20),
        "memory_slope_bytes_per_image": day.memory_slope,
        "descriptors_more_at_most": day.descriptors_more,
        "journal_bytes_per_image": day.journal_per_image,
    }
    for name, value in figures.items():
        print(f"{name:>30} {value:12.1f}")
    if options.json:
        options.json.write_text(json.dumps({**figures, "looks": [*map(asdict, day.looks)]}, indent=1))


def feed(folder: Path, images: int) -> Day:
    """Feed so many pictures; every one must be filed."""
    journal = journal_path(folder / "state", folder / "sorted")
    pictures = [encoded(kind) for kind in KINDS]
    looks: list[Look] = []
    with daemon(folder, "--threshold", "0", "--state-dir", "state") as running:
        inbox, outside = folder / "inbox", folder / "outside"
        outside.mkdir()
        began = time.monotonic()
        for number in range(images):
            # A comment at the end makes each one another.
            (outside / "new").write_bytes(pictures[number % len(pictures)] + b"%012d" % number)
            (outside / "new").rename(inbox / f"{number}.jpg")
            if number % (AHEAD // 2) == 0:
                wait_for(lambda: sum(1 for _ in inbox.iterdir()) < AHEAD, "the daemon keeps up")
            if number % max(1, images // LOOKS) == 0:
                looks.append(look(number, running.process.pid, journal))
        wait_for(lambda: next(inbox.iterdir(), None) is None, "everything is filed")
        seconds = time.monotonic() - began
        looks.append(look(images, running.process.pid, journal))
        assert running.terminate() == 0
        assert not [line for line in running.log().splitlines() if " INFO " not in line]
    assert sum(1 for path in (folder / "sorted").rglob("*.jpg")) == images
    shutil.rmtree(folder / "sorted")
    return Day(images, seconds, looks)


def encoded(kind: str) -> bytes:
    """A small JPEG."""
    file = BytesIO()
    draw(kind, 1, SIDE).save(file, "JPEG", quality=80)
    return file.getvalue()


def look(images: int, pid: int, journal: Path) -> Look:
    """The daemon as it is now."""
    everybody = family(pid)
    sizes = sum(path.stat().st_size for path in journal.parent.glob(f"{journal.name}*"))
    return Look(images, memory(everybody), descriptors(everybody), sizes)


if __name__ == "__main__":
    main()
