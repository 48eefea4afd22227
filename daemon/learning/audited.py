"""A random sample of the images that came, by which a lesson can promise how many of those it files are wrong.

An audit (`daemon.review.audits`) is a random sample of what was filed, in an order of which any beginning is one, too.
It says nothing of the images that went to the others, which the head of a lesson may file. So these are given beside
it, at random and in the proportion in which they came. Nobody may have said what they are: the promise has to count
those as mistakes where the lesson would file them, as it does all that is not told of a drawn image.

What a person put right before the draw belongs to the sample: without it, only what nobody had noticed would count.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from loguru import logger
from pydantic import BaseModel, ConfigDict, ValidationError

from daemon.files.roots import Roots
from daemon.filing.labelled_images import find_labelled
from daemon.journal.history import Wanted
from daemon.journal.labels import Label, WantedLabels
from daemon.journal.reader import JournalReader
from daemon.journal.records import Filing
from models.files.atomic import atomic_file
from models.text.jsontext import json_text

#: The folder beside the journal with the audits, as `daemon.review.audit_book` writes them.
AUDIT_FOLDER = "audits"
#: What a line says of an image: it was drawn and judged, or drawn and passed over, or it is one of the unsure ones.
AUDITED, PASSED_OVER, UNSURE = "audited", "passed over", "unsure"
#: So many images are given at most: a lesson has to compute their features.
MOST_IMAGES = 1000
_MOST_BYTES = 1 << 24


class _Drawn(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int
    filed_as: str
    right: bool | None = None
    by_label: bool = False


class _Audit(BaseModel):
    """What counts of an audit: which images were drawn in which time, what was said of them, and among how many."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    since: datetime
    until: datetime
    seed: int
    filed: Mapping[str, int]
    images: Sequence[_Drawn]

    @property
    def answered(self) -> Sequence[_Drawn]:
        """The images up to the last one that was answered: those that were passed over are part of the sample, too."""
        answered = [
            place for place, drawn in enumerate(self.images, 1) if drawn.right is not None and not drawn.by_label
        ]
        return self.images[: max(answered, default=0)]


def audited_file(labels: Path) -> Path:
    """Return the file of the sample that lies beside one of labels."""
    return labels.with_name(f"{labels.stem}-audited{labels.suffix}")


def write_audited(journal: Path, file: Path, folders: Sequence[Path], others: Path) -> None:
    """Write the sample for `trainer learn`, of the newest audits first; ``others``: the folder of unsure images.

    Raises `UserError`, OSError and sqlite3.Error.
    """
    audits = list(_audits(journal.parent / AUDIT_FOLDER)) if journal.exists() else []
    with atomic_file(file, durable=False, mode=None) as opened, closing(JournalReader(journal)) as reader:
        left, seen = MOST_IMAGES, set[str]()
        for audit in audits:
            lines = list(_Sample(audit, reader, Roots(folders), others).lines(left))
            left -= len(lines)
            for line in lines:
                if line["sha256"] not in seen:  # drawn by a newer audit, too
                    seen.add(line["sha256"])
                    opened.write(f"{json_text(line)}\n".encode())


def _audits(folder: Path) -> Iterator[_Audit]:
    """Yield the audits that can be read, newest first."""
    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            if path.stat().st_size <= _MOST_BYTES:
                yield _Audit.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            logger.debug("the audit {} is not used: {}", path, error)


class _Sample:
    """What one audit gives: the images that it drew, and unsure ones of the same time."""

    def __init__(self, audit: _Audit, reader: JournalReader, roots: Roots, others: Path) -> None:
        self._audit, self._reader, self._roots, self._others = audit, reader, roots, others

    def lines(self, most: int) -> Iterator[dict[str, Any]]:
        """Yield the sample; it has up to ``most`` images."""
        audit, filed = self._audit, sum(self._audit.filed.values())
        if not audit.answered or not filed:
            return
        unsure = self._reader.left_unsure(self._others, audit.since, audit.until)
        for_each = len(unsure) / filed  # so many unsure images came for each that was filed
        count = min(len(audit.answered), int(most / (1 + for_each)))
        found = list(self._unsure(unsure, math.ceil(count * for_each)))
        if len(found) < count * for_each:  # others of them are gone
            count = int(len(found) / for_each)
            found = found[: math.ceil(count * for_each)]
        yield from self._drawn(audit.answered[:count])
        yield from found

    def _drawn(self, images: Sequence[_Drawn]) -> Iterator[dict[str, Any]]:
        """Yield drawn images: of the class that a person said last, or was told that it is right."""
        filings = self._filings([image.id for image in images])
        said = self._said(filings.values())
        for image in images:
            filing = filings.get(image.id)
            if filing is None or filing.sha256 is None:  # long ago; nobody can tell by now
                unknown = hashlib.sha256(f"{self._audit.seed} {image.id}".encode()).hexdigest()
                yield _line(unknown, None, None, PASSED_OVER)
                continue
            label = said.get(filing.sha256)
            if label is not None:
                yield _line(filing.sha256, self._place(filing, label), label.label, AUDITED)
            else:
                how = PASSED_OVER if image.right is None else AUDITED
                yield _line(filing.sha256, filing.destination, image.filed_as if image.right else None, how)

    def _unsure(self, ids: Sequence[int], count: int) -> Iterator[dict[str, Any]]:
        """Yield up to ``count`` unsure images at random, of those whose content is there to look at."""
        order = list(ids)
        random.Random(self._audit.seed).shuffle(order)
        given = 0
        while given < count and order:
            batch, order = order[: count - given], order[count - given :]
            filings = self._filings(batch)
            said = self._said(filings.values())
            for number in batch:
                filing = filings.get(number)
                if filing is None or filing.sha256 is None:
                    continue
                label = said.get(filing.sha256)
                place = self._place(filing, label)
                if place is not None:
                    given += 1
                    yield _line(filing.sha256, place, None if label is None else label.label, UNSURE)

    def _place(self, filing: Filing, label: Label | None) -> Path | None:
        """Return where an image lies, as far as that is known."""
        if label is not None and (place := find_labelled(label, self._roots, self._reader.filed_with_inode)):
            return place
        return filing.destination if filing.destination is not None and filing.destination.is_file() else None

    def _filings(self, ids: Sequence[int]) -> dict[int, Filing]:
        found = self._reader.history(Wanted(ids=ids), len(ids)) if ids else []
        return {filing.id: filing for filing in found if filing.id is not None}

    def _said(self, filings: Iterable[Filing]) -> dict[str, Label]:
        """Return what people said last of the contents of images."""
        contents = [filing.sha256 for filing in filings if filing.sha256 is not None]
        return {label.sha256: label for label in self._reader.labels(WantedLabels(sha256=contents))} if contents else {}


def _line(sha256: str, path: Path | None, label: str | None, how: str) -> dict[str, Any]:
    return {"path": "" if path is None else str(path), "sha256": sha256, "label": label, "how": how}
