"""Read what a run of the trainer says of its held-out images: ``split.csv``, a line at a time."""

from __future__ import annotations

import csv
import heapq
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

SPLIT_FILE = "split.csv"
#: A label is likely wrong where the model gives it no more than this probability, out of fold.
LEAST_LIKELY = 0.1
#: Images that are advised upon at once, and those that follow them once people have said what they are.
MOST_ADVISED, _MOST_DOUBTED = 100, 1000
#: Images that were listed and are remembered: the page asks for their thumbnails next.
_MOST_LISTED = 2000
_HELD_OUT = "held-out"
#: Bytes of a field, at most: it holds a path.
_LONGEST_FIELD = 1 << 16


@dataclass(frozen=True)
class JudgedImage:
    """A held-out image: its place in the file, its name in the data set, its class, and what it was taken for."""

    number: int
    name: str
    sha256: str
    actual: str
    predicted: str
    confidence: float
    true_probability: float


class Mistakes(NamedTuple):
    """How many held-out images of each class were taken for which, and those whose label is likely wrong."""

    counts: Counter[tuple[str, str]]
    likely_wrong: list[JudgedImage]


class RunReport:
    """The report of one run; empty where it has none that can be read. Safe in any thread."""

    def __init__(self, run: Path) -> None:
        self._path = run / SPLIT_FILE
        self._state = _state(self._path)
        self._listed: dict[int, JudgedImage] = {}

    def is_of(self, run: Path) -> bool:
        """Whether this is the report of a run as it is by now."""
        return self._path == run / SPLIT_FILE and self._state == _state(self._path)

    def judged(self) -> Iterator[JudgedImage]:
        """Yield the held-out images. One of none of the classes has an empty one."""
        csv.field_size_limit(_LONGEST_FIELD)
        try:
            with self._path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
                for number, row in enumerate(csv.DictReader(file)):
                    if row.get("side") == _HELD_OUT:
                        with suppress(ValueError, TypeError, KeyError):
                            yield _judged(number, row)
        except (OSError, csv.Error):
            return

    @cached_property
    def mistakes(self) -> Mistakes:
        """Sum the mistakes up, the likeliest wrong label first."""
        counts: Counter[tuple[str, str]] = Counter()

        def suspects() -> Iterator[JudgedImage]:
            for image in self.judged():
                counts[image.actual, image.predicted] += 1
                if image.actual != image.predicted and image.true_probability <= LEAST_LIKELY:
                    yield image

        wrong = heapq.nlargest(_MOST_DOUBTED, suspects(), key=lambda image: image.confidence - image.true_probability)
        return Mistakes(counts, self._remember(wrong))

    def cell(self, actual: str, predicted: str, after: int, limit: int) -> list[JudgedImage]:
        """List images of a cell of the confusion matrix, in the order of the file, after one of them."""
        found = []
        for image in self.judged():
            if image.number > after and (image.actual, image.predicted) == (actual, predicted):
                found.append(image)
                if len(found) == limit:
                    break
        return self._remember(found)

    def find(self, number: int) -> JudgedImage | None:
        """Find an image by its place."""
        return self._listed.get(number) or next((image for image in self.judged() if image.number == number), None)

    def _remember(self, listed: list[JudgedImage]) -> list[JudgedImage]:
        if len(self._listed) + len(listed) > _MOST_LISTED:
            self._listed.clear()
        self._listed.update((image.number, image) for image in listed)
        return listed


def _state(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written anew; None where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _judged(number: int, row: dict[str, str]) -> JudgedImage:
    return JudgedImage(
        number=number,
        name=row["file"],
        sha256=row["sha256"],
        actual=row["label"],
        predicted=row["predicted"],
        confidence=float(row["confidence"]),
        true_probability=float(row["true_probability"]),
    )
