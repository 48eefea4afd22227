"""Read what a run of the trainer says of its held-out images: ``split.csv``, a line at a time."""

from __future__ import annotations

import csv
import heapq
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SPLIT_FILE = "split.csv"
#: A label is likely wrong where the model gives it no more than this probability, out of fold.
LEAST_LIKELY = 0.1
MOST_ADVISED = 100
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


class RunReport:
    """The report of one run; empty where it has none that can be read."""

    def __init__(self, run: Path) -> None:
        self._path = run / SPLIT_FILE

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

    def counts(self) -> Counter[tuple[str, str]]:
        """Count the held-out images by their class, and what they were taken for."""
        return Counter((image.actual, image.predicted) for image in self.judged())

    def cell(self, actual: str, predicted: str, after: int, limit: int) -> list[JudgedImage]:
        """List images of a cell of the confusion matrix, in the order of the file, after one of them."""
        found = []
        for image in self.judged():
            if image.number > after and (image.actual, image.predicted) == (actual, predicted):
                found.append(image)
                if len(found) == limit:
                    break
        return found

    def likely_wrong(self) -> list[JudgedImage]:
        """List the images whose label is likely wrong, the likeliest first."""
        suspect = (
            image
            for image in self.judged()
            if image.actual != image.predicted and image.true_probability <= LEAST_LIKELY
        )
        return heapq.nlargest(MOST_ADVISED, suspect, key=lambda image: image.confidence - image.true_probability)

    def find(self, number: int) -> JudgedImage | None:
        """Find an image by its place."""
        return next((image for image in self.judged() if image.number == number), None)


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
