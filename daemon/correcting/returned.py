"""Find images that have returned to where they were filed since a label said that they lay elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from daemon.correcting.examination import OURS
from daemon.correcting.survey import Origin, Sighting
from daemon.journal.labels import Label, WantedLabels
from daemon.journal.reader import JournalReader
from daemon.journal.records import Filing

#: Labels that are looked at together.
_TOGETHER = 100
#: Seconds that the times of labels and of what was saved may lie apart.
_OVERLAP = 60.0


def returned_images(journal: JournalReader, output: Path, saved_at: float) -> Iterator[list[Sighting]]:
    """Yield images of an output that may have returned, some at a step.

    Only for labels that were made after ``saved_at``, when the known files were saved: according to these, the images
    have never been anywhere else.
    """
    since = datetime.fromtimestamp(max(0.0, saved_at - _OVERLAP), UTC)
    labels = journal.labels(WantedLabels(how=OURS, since=since))
    while some := list(itertools.islice(labels, _TOGETHER)):
        filed = _with_filings(journal, some)
        yield [sighting for label, row in filed if (sighting := _returned_to(output, label, row))]


def _with_filings(journal: JournalReader, labels: Sequence[Label]) -> Iterator[tuple[Label, Filing]]:
    """Yield labels with the newest filings of images that have their inode numbers, where there are any."""
    rows = journal.filed_with_inode({label.identity.ino for label in labels})
    newest = {row.filed_ino: row for row in reversed(rows) if row.image_id is None}
    return ((label, newest[label.identity.ino]) for label in labels if label.identity.ino in newest)


def _returned_to(output: Path, label: Label, row: Filing) -> Sighting | None:
    place = row.destination
    if place is None or place == label.path or not place.is_relative_to(output):
        return None
    folder, _, name = str(place.relative_to(output)).rpartition("/")
    return Sighting(folder, name, label.identity.ino, Origin.FOUND)
