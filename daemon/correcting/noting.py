"""Write labels for what people moved, on the work loop: between its own moves, which thus are not taken for theirs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from daemon.correcting.examination import OURS, Found, can_be_taken_back
from daemon.correcting.survey import Origin
from daemon.files.outputs import place_in
from daemon.journal.journal import Journal
from daemon.journal.labels import How, Label, WantedLabels
from models.text.language import tr, trn
from models.text.printable import shown

#: Lines for single images in so many seconds; beyond that, only the number of images is logged.
_LINES, _SECONDS = 10, 60.0


@dataclass
class Noted:
    """What became of some images: new ``labels`` by how they came about, and those to ``examine`` once more."""

    labels: Counter[How]
    examine: list[Found]


class LabelWriter:
    """Writes labels of one output; paths are said below ``output``, the main one."""

    def __init__(self, output: Path, journal: Journal, clock: Callable[[], float] = time.monotonic) -> None:
        self._journal = journal
        self._report = _Report(output, clock)

    def write(self, found: Sequence[Found]) -> Noted:
        """Check what was found once more, and write labels for it in one transaction. Raises JournalBusy."""
        noted = Noted(Counter(), [])
        last_filed = self._last_filed({image.identity.ino for image in found})
        moving = {number for row in self._journal.interrupted() for number in (row.identity.ino, row.filed_ino)}
        newest = self._newest({image.sha256 for image in found})
        written: list[Label] = []
        taken_back: list[int] = []
        told: list[Found] = []
        for image in found:
            before = newest.get(image.sha256)
            if image.identity.ino in moving or last_filed.get(image.identity.ino) != image.filed_with:
                noted.examine.append(image)
            elif image.how is not None:
                label = _label(image, before)
                if label is not None:
                    newest[image.sha256] = label
                    written.append(label)
                    if _is_new(label, before):
                        noted.labels[label.how] += 1
                        told.append(image)
            elif before is not None and can_be_taken_back(before, image.label):
                if before.id is None:
                    noted.examine.append(image)  # it is only written now
                else:
                    taken_back.append(before.id)
                    told.append(image)
        self._journal.write([], labels=written)
        if taken_back:
            self._journal.forget_labels(taken_back)
        for image in told:
            self._report.note(image)
        return noted

    def summarise(self) -> None:
        """Log from time to time how many there were beside those that were logged one by one."""
        self._report.summarise()

    def _last_filed(self, inodes: set[int]) -> dict[int, int | None]:
        """Map inodes to the ids of the newest filings of images with them."""
        rows = [row for row in self._journal.filed_with_inode(inodes) if row.image_id is None]
        return {row.filed_ino: row.id for row in reversed(rows)}

    def _newest(self, contents: set[str]) -> dict[str, Label]:
        """Map contents to their newest labels, forgotten ones, too."""
        labels = list(self._journal.labels(WantedLabels(sha256=sorted(contents), every=True)))
        return {label.sha256: label for label in reversed(labels)}


def _label(found: Found, before: Label | None) -> Label | None:
    """Make the label to write; None where the newest of this content says it all."""
    assert found.how is not None
    how = found.how
    if before is not None and before.label == found.label:
        if before.forgotten and before.path == found.path and found.sighting.origin is not Origin.SEEN:
            return None  # it lies there since a label of it was taken back
        if not before.forgotten and (before.path == found.path or before.how not in OURS):
            return None
        if not before.forgotten:
            how = before.how  # only its path has changed
    return Label(
        sha256=found.sha256,
        label=found.label,
        how=how,
        path=found.path,
        identity=found.identity,
        filing_id=None if found.filing is None else found.filing.id,
    )


def _is_new(label: Label, before: Label | None) -> bool:
    """Whether a label says something new, not only another path."""
    return before is None or before.forgotten or before.label != label.label


def say_renamed(label: str, name: str) -> None:
    """Warn that a class folder has another name now."""
    logger.warning(
        tr(
            "the class folder '{label}' is called '{name}' now: for this daemon its images, and those that you "
            "move there, are still of the class {label}, and it files new ones into '{label}'. Rename the folder "
            "back; or, if the class is to be called {name}, rename its folder in the data set, too, and fit again",
            label=label,
            name=name,
        )
    )


class _Report:
    """Logs a line for each image; for many in a short time, only how many."""

    def __init__(self, output: Path, clock: Callable[[], float]) -> None:
        self._output = output
        self._clock = clock
        self._lines = 0
        self._until = clock()
        self._more: Counter[How | None] = Counter()

    def note(self, found: Found) -> None:
        if self._clock() >= self._until:
            self.summarise()
            self._lines, self._until = 0, self._clock() + _SECONDS
        self._lines += 1
        if self._lines <= _LINES:
            logger.bind(file=str(found.path)).info("{}", self._sentence(found))
        else:
            self._more[found.how] += 1

    def summarise(self) -> None:
        """Log what was only counted, once the time of its lines is over."""
        if self._more and self._clock() >= self._until:
            for how, count in self._more.items():
                logger.info("{}", _many(how, count))
            self._more.clear()

    def _sentence(self, found: Found) -> str:
        name = shown(place_in(found.path, [self._output]))
        if found.how is None:
            return tr("{name} was moved back to where it was filed: its correction is taken back", name=name)
        if found.how is How.PLACED:
            return tr("{name} was put there by hand: noted as an example", name=name)
        place = found.filing.destination if found.filing is not None else None
        assert place is not None
        filed = shown(place_in(place, [self._output]))
        if found.label is None:
            return tr("{filed} was moved to {name}: noted as none of the classes", filed=filed, name=name)
        return tr("{filed} was moved to {name}: noted as a correction", filed=filed, name=name)


def _many(how: How | None, count: int) -> str:
    if how is How.MOVED:
        return trn(
            "1 more image was moved to another class folder: noted as a correction",
            "{count} more images were moved to other class folders: noted as corrections",
            count,
        )
    if how is How.PLACED:
        return trn(
            "1 more image was put into a class folder: noted as an example",
            "{count} more images were put into class folders: noted as examples",
            count,
        )
    return trn(
        "1 more image was moved back to where it was filed: its correction is taken back",
        "{count} more images were moved back to where they were filed: their corrections are taken back",
        count,
    )
