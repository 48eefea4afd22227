"""Tag images instead of moving them, or beside that: the class of an image goes into its XMP sidecar.

An image that is tagged where it lies is a filing from its place to the same place. What changes for a batch is written
to the journal first; then the sidecars are written under hidden names, flushed, and given their names. A change that a
crash interrupted is made again at the next start: putting a tag in twice is the same as once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from loguru import logger

from daemon.files import copying, tag_files
from daemon.files.renaming import FileAt
from daemon.files.roots import NO_FOLDER, OpenFolders
from daemon.files.source import BeingWritten, Identity, SourceChanged, SourceGone
from daemon.files.tag_files import TagChange
from daemon.filing.identity import is_as_read
from daemon.filing.private_names import filing_of, plain_name, shortened
from daemon.filing.status import Status, sentence
from daemon.filing.transfer import Transfer, check_source
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.records import Filing, State
from models.files.atomic import sync_folder
from models.text.language import tr
from models.text.printable import shown
from models.xmp.document import XmpError
from models.xmp.tags import Tag

#: The reason of an image that has no tag because its sidecar cannot be changed.
REASON = "sidecar"
#: How often another program may change a sidecar while it is read and written.
_ATTEMPTS = 3


@dataclass(eq=False)
class Tagging:
    """An image whose sidecar is to have a tag of ours, or (None) none; its row names what is hidden meanwhile.

    ``refusal``: why the sidecar is left as it is. ``error``: why that is tried again.
    """

    row: Filing
    image: FileAt
    tag: Tag | None
    change: TagChange | None = None
    refusal: str | None = None
    error: OSError | SourceChanged | None = None

    def prepare(self) -> None:
        """Read the sidecar, and work out what is to become of it."""
        self.error = None
        self._try(self._prepare)

    @property
    def is_pending(self) -> bool:
        """Whether there is something to do, and nothing is against it."""
        return self.change is not None and self.refusal is None and self.error is None

    def _prepare(self) -> None:
        self.change = tag_files.prepare(self.image, self.tag)

    def step(self, do: Callable[[TagChange], None]) -> None:
        """Do a step of the change, if nothing has gone wrong before."""
        if self.is_pending and (change := self.change) is not None:
            # Only now is the row in the journal, which tells the name to the next start.
            change.part = change.entry._replace(name=hidden_name(change.entry.name, self.row))
            self._try(lambda: do(change))

    def _try(self, do: Callable[[], None]) -> None:
        try:
            do()
        except XmpError as error:
            self.refusal = tr(
                "the XMP sidecar of '{name}' cannot be tagged: {reason}",
                name=self.image.name,
                reason=error,
            )
        except (OSError, SourceChanged) as error:
            self.error = error


def hidden_name(sidecar: str, row: Filing) -> str:
    """Make the name that a sidecar has while it is written."""
    beginning = f".tag.{filing_of(row)}."
    return beginning + shortened(plain_name(sidecar), len(beginning))


def tag_of(row: Filing) -> Tag | None:
    """Return the tag that a filing gives an image; None where that is of no class."""
    if row.label is None or row.filed_name is None:
        return None
    return Tag(row.label, row.confidence, row.model_digest)


def carry_out(taggings: Sequence[Tagging]) -> None:
    """Make prepared changes, durably; what another program changes meanwhile is prepared again."""
    for _ in range(_ATTEMPTS):
        try:
            for step in (tag_files.write, _flush, tag_files.place):
                for tagging in taggings:
                    tagging.step(step)
        finally:
            for tagging in taggings:
                if tagging.change is not None:
                    tag_files.finish(tagging.change)
        changed = [
            tagging
            for tagging in taggings
            if isinstance(tagging.error, SourceChanged) and not isinstance(tagging.error, BeingWritten)
        ]
        _sync(tagging for tagging in taggings if tagging.is_pending)
        if not changed:
            return
        taggings = changed
        for tagging in taggings:
            tagging.prepare()


def _flush(change: TagChange) -> None:
    copying.report_progress()
    if change.descriptor is not None:
        os.fsync(change.descriptor)


def _sync(taggings: Iterable[Tagging]) -> None:
    by_folder: dict[int, list[Tagging]] = {}
    for tagging in taggings:
        by_folder.setdefault(tagging.image.folder, []).append(tagging)
    for folder, some in by_folder.items():
        try:
            sync_folder(folder)
        except OSError as error:
            for tagging in some:
                tagging.error = error


def run(transfers: Sequence[Transfer], journal: Journal) -> None:
    """Tag images where they lie. What fails for one image becomes its status, and is never raised."""
    rows: list[Filing] = []  # to be written when all is done
    pending = [transfer for transfer in transfers if transfer.status is None]
    taggings = [(transfer, tagging) for transfer in pending if (tagging := _begin(transfer)) is not None]
    for transfer, tagging in taggings:
        if not tagging.is_pending:
            _end(transfer, tagging, rows)
    if not _record([transfer for transfer, tagging in taggings if tagging.error is None], journal):
        return
    rows.clear()
    begun = [(transfer, tagging) for transfer, tagging in taggings if transfer.status is None]
    carry_out([tagging for _, tagging in begun])
    for transfer, tagging in begun:
        _end(transfer, tagging, rows)
    journal.write_later(rows)


def _begin(transfer: Transfer) -> Tagging | None:
    """Look at an image and its sidecar; None where the transfer has ended already."""
    try:
        check_source(transfer.source, transfer.row)
    except SourceGone:
        transfer.end(Status.GONE)
    except SourceChanged:
        transfer.end(Status.CHANGED)
    except OSError as error:
        transfer.end(Status.RETRY, sentence(transfer.row, error))
    else:
        tagging = Tagging(transfer.row, transfer.source, tag_of(transfer.row))
        tagging.prepare()
        return tagging
    return None


def _record(transfers: Sequence[Transfer], journal: Journal) -> bool:
    """Write the rows, also those of images of which nothing changes; returns whether that was possible."""
    labels = [transfer.label for transfer in transfers if transfer.label is not None]
    try:
        journal.write([transfer.row for transfer in transfers], labels=labels)
    except JournalBusy as error:
        busy = JournalBusy(tr("the journal cannot be written ({error})", error=error))
        for transfer in transfers:
            transfer.end(Status.RETRY, sentence(transfer.row, busy))
        return False
    return True


def _end(transfer: Transfer, tagging: Tagging, rows: list[Filing]) -> None:
    """Say what became of an image, in its status and its row; add the ``rows`` that are to be written."""
    row, error = transfer.row, tagging.error
    rows.append(row)
    if tagging.refusal is not None:
        row.state = State.VOID if row.id is not None else State.REFUSED
        if row.id is not None:  # found out late: the reason of a row cannot be changed
            transfer.row = row = replace(row, id=None, state=State.REFUSED)
            rows.append(row)
        row.reason, row.detail, row.folder, row.filed_name = REASON, tagging.refusal, None, None
        transfer.end(Status.REFUSED, tagging.refusal)
    elif error is None:
        row.state = State.DONE
        transfer.end(Status.FILED)
    else:
        row.state = State.VOID
        if isinstance(error, copying.Stopping):
            transfer.end(Status.STOPPED)
        elif isinstance(error, SourceChanged):
            transfer.end(Status.CHANGED)
        else:
            transfer.end(Status.RETRY, sentence(row, error))


def follow_up(transfer: Transfer) -> Filing:
    """Make the row of the tag that an image gets where it has been moved or copied to. Raises OSError."""
    row = transfer.row
    assert row.destination is not None
    return replace(
        row,
        id=None,
        state=State.INTENT,
        action="tag",
        source=row.destination,
        identity=Identity.from_stat(transfer.target.stat()),
        copy_ino=None,
        image_id=row.id,
    )


def follow(transfers: Sequence[Transfer], journal: Journal) -> None:
    """Tag images where they have been filed, by the rows that were written with the end of that."""
    taggings = []
    for transfer in transfers:
        if transfer.follow_up is not None:
            tagging = Tagging(transfer.follow_up, transfer.target, tag_of(transfer.follow_up))
            tagging.prepare()
            taggings.append(tagging)
    carry_out(taggings)
    for tagging in taggings:
        if tagging.error is None:
            tagging.row.state = State.VOID
        if (why := tagging.refusal or (None if tagging.error is None else str(tagging.error))) is not None:
            logger.warning("{}", shown(why))
    journal.write_later([tagging.row for tagging in taggings])


@contextmanager
def giving_way(image: Filing, sidecar: Transfer, journal: Journal) -> Iterator[None]:
    """Take our tag away while a late XMP sidecar joins its image, and put it into that sidecar. Raises JournalBusy.

    Only where our sidecar holds nothing else. A crash meanwhile leaves a row by which the tag is put in later.
    """
    place = sidecar.target._replace(name=image.filed_name or "")
    own = _own_alone(place) if sidecar.target.name.lower().endswith(".xmp") else None
    if own is None:
        yield
        return
    row = replace(
        image,
        id=None,
        state=State.INTENT,
        action="tag",
        source=image.destination or image.source,
        identity=Identity.from_stat(place.stat()),
        sha256=None,
        copy_ino=None,
        label=own.label,
        confidence=own.confidence,
        model_digest=own.model,
        image_id=image.id,
    )
    journal.write([row])
    _carry_out_one(Tagging(row, place, None))
    try:
        yield
    finally:
        _carry_out_one(Tagging(row, place, own))
        row.state = State.VOID
        journal.write_later([row])


def _own_alone(image: FileAt) -> Tag | None:
    with suppress(OSError, XmpError):
        return tag_files.read_own(image, alone=True)
    return None


def _carry_out_one(tagging: Tagging) -> None:
    tagging.prepare()
    carry_out([tagging])


def is_left_half(image: FileAt, row: Filing) -> bool:
    """Whether a change of the tags of an image was killed, so that there is something to `clear_up`. Raises OSError."""
    hidden = [hidden_name(name, row) for name in tag_files.sidecar_names(image)]
    return any(image._replace(name=name + ending).exists() for name in hidden for ending in ("", "."))


def clear_up(image: FileAt, row: Filing, tag: Tag | None) -> None:
    """Clear up what was left under hidden names when the change to ``tag`` was killed. Raises OSError."""
    for name in tag_files.sidecar_names(image):
        tag_files.recover_part(image._replace(name=name), image._replace(name=hidden_name(name, row)), tag)


def recover(row: Filing, folders: OpenFolders) -> None:
    """Finish a tagging that a crash interrupted, and say what became of it in the state of its row. Raises OSError."""
    row.state = State.VOID
    try:
        image = folders.entry(row.source)
    except NO_FOLDER:
        return
    clear_up(image, row, tag_of(row))
    try:
        if not is_as_read(image, row):
            return
    except FileNotFoundError:
        return
    tagging = Tagging(row, image, tag_of(row))
    tagging.prepare()
    carry_out([tagging])
    if isinstance(tagging.error, OSError):
        raise tagging.error
    if tagging.refusal is not None:
        logger.warning("{}", shown(tagging.refusal))
    elif tagging.error is None and row.image_id is None:
        row.state = State.DONE
