"""Audit what was filed: draw images at random, and let a person say of each whether it is right."""

from __future__ import annotations

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

from daemon.config import Settings
from daemon.journal.labels import Label, WantedLabels
from daemon.journal.records import Filing
from daemon.review.audit_api import Audit, AuditImage, Audits, NewAudit
from daemon.review.audit_book import AuditBook, Drawn, KeptAudit
from daemon.review.decisions import DecisionQueue
from daemon.review.drawing import draw
from daemon.review.images import Images
from daemon.review.place import ReviewedOutput
from daemon.review.refusals import Refusal
from models.errors import CheckpointError
from models.text.language import tr
from models.text.printable import shown

#: Seeds are smaller than this: so far JavaScript's numbers are exact.
_SEEDS = 1 << 53
#: Images of a class that are checked together.
_AT_ONCE = 50


class Auditing:
    """Draws and shows audits. Safe in any thread."""

    def __init__(self, place: ReviewedOutput, images: Images, book: AuditBook, decisions: DecisionQueue) -> None:
        self._place = place
        self._images = images
        self._book = book
        self._decisions = decisions

    def history(self) -> Audits:
        """List all audits."""
        return Audits(audits=[audit.summary() for audit in self._book.all()])

    def show(self, name: str) -> Audit:
        """Show an audit. Raises `Refusal`."""
        return self._shown(self._book.find(name))

    def draw(self, asked: NewAudit) -> Audit:
        """Draw a new audit. Raises `Refusal` and `UserError`."""
        until = datetime.now(UTC)
        seed = secrets.randbelow(_SEEDS) if asked.seed is None else asked.seed
        filed: dict[str, list[int]] = defaultdict(list)
        for number, label in self._images.read(
            lambda reader: reader.filed_by_model(self._place.others, asked.since, until)
        ):
            filed[label].append(number)
        if not filed:
            raise Refusal(409, tr("nothing was filed into a class folder since then"))
        drawn: list[Drawn] = []
        for label, wanted, order in draw(filed, asked.count, seed):
            drawn += self._take(label, wanted, order)
        drawn.sort(key=lambda image: _place_in_order(seed, image.id))
        audit = KeptAudit(
            id=self._book.new_id(),
            time=until,
            since=asked.since,
            until=until,
            seed=seed,
            filed={label: len(ids) for label, ids in filed.items()},
            promised=promised_share(self._place.settings),
            images=drawn,
        )
        self._book.keep(audit)
        return self._shown(audit)

    def _take(self, label: str, wanted: int, order: Iterator[int]) -> Iterator[Drawn]:
        """Take so many images in order: those that are still there to be judged, or that have a label of a person."""
        taken = 0
        while taken < wanted and (numbers := [number for number, _ in zip(order, range(_AT_ONCE), strict=False)]):
            filings = self._images.filings(numbers)
            there = {filing.id for filing in self._images.still_there(filings.values())}
            said = self._said([filing for filing in filings.values() if filing.id not in there])
            for number in numbers:
                if taken == wanted:
                    return
                if number in there:
                    yield Drawn(id=number, filed_as=label)
                elif number in said:
                    yield Drawn(id=number, filed_as=label, right=_is_right(said[number].label, label), by_label=True)
                else:
                    continue  # it was taken away, and nobody knows what it was
                taken += 1

    def _said(self, filings: list[Filing]) -> dict[int, Label]:
        """Find the labels that people have given to images since they were filed, by the ids of the filings."""
        by_content: dict[str, int] = {}
        for filing in filings:
            if filing.sha256 is not None and filing.id is not None:
                by_content[filing.sha256] = filing.id
        wanted = WantedLabels(sha256=[*by_content])
        labels = self._images.read(lambda reader: list(reader.labels(wanted))) if by_content else []
        return {by_content[label.sha256]: label for label in labels}

    def _shown(self, audit: KeptAudit) -> Audit:
        filings = self._images.filings([image.id for image in audit.images])
        waiting = self._decisions.waiting()
        there = {filing.id: filing for filing in self._images.still_there(filings.values())}
        return Audit(
            id=audit.id,
            time=audit.time,
            since=audit.since,
            until=audit.until,
            seed=audit.seed,
            filed=sum(audit.filed.values()),
            images=[
                AuditImage(
                    image=self._images.describe(there[image.id], waiting) if image.id in there else None,
                    id=image.id,
                    filed_as=shown(image.filed_as),
                    right=image.right,
                )
                for image in audit.images
            ],
            overall=audit.overall(),
            classes=audit.classes(),
        )


def promised_share(settings: Settings) -> float | None:
    """Return the share of mistakes that the model promises at most, at the threshold in force; None for no promise."""
    # Not at the top: they take memory, and are needed once.
    from daemon.reloading.checkpoint_source import CheckpointSource
    from models.checkpoints import checkpoint

    try:
        published = CheckpointSource(settings.checkpoint).find()
        if published is None:
            return None
        metadata = checkpoint.read_metadata(published.path)
    except CheckpointError:
        return None
    promise = metadata.kept_promise
    if settings.threshold != "auto":
        kept = [other for other in metadata.promises if other.typed_threshold <= settings.threshold]
        promise = max(kept, key=lambda other: other.threshold, default=None)
    return None if promise is None or promise.certainty is None else promise.max_error


def _is_right(said: str | None, filed_as: str) -> bool:
    """Whether an image was filed into the folder of the class that a person named, or into a folder above that."""
    return said is not None and f"{said}/".startswith(f"{filed_as}/")


def _place_in_order(seed: int, number: int) -> bytes:
    """Return a key that sorts the images of all classes at random, in the same order whenever they are drawn again."""
    return hashlib.sha256(f"{seed} {number}".encode()).digest()
