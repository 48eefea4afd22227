"""File images: choose the destination for each decision, and move, copy or link the image there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple

from loguru import logger

from daemon.files.class_mounts import ClassMounts
from daemon.files.locks import FolderBusy
from daemon.files.names import numbered
from daemon.files.output_mark import OutputAway, OutputMark
from daemon.files.renaming import Entry
from daemon.files.roots import Roots
from daemon.files.source import Identity, Source, SourceChanged, SourceGone
from daemon.filing import transfer
from daemon.filing.folders import Folders, Output
from daemon.filing.free_names import free_name, longest_name
from daemon.filing.growth import drop_half
from daemon.filing.identity import has_content, is_one_folder
from daemon.filing.quarantine_notes import write_reason
from daemon.filing.recovery import recover
from daemon.filing.renamed import name_of
from daemon.filing.sidecars import Sidecars
from daemon.filing.status import Status, sentence
from daemon.filing.transfer import Transfer
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.records import Filing, State
from models.decision import Fate
from models.markers import Kind
from models.text.language import tr
from models.text.printable import shown

__all__ = ["Action", "Decision", "Filed", "Filer", "Status"]

Action = Literal["move", "copy", "link"]

#: The most names that a dry run remembers having given out; beyond them it starts over, for it may go on for months.
MOST_PLANNED = 100_000
#: For how long after it was copied or linked an original may turn out to have been half of an image.
_GROWS = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Where one image is to go: ``folder`` is relative to the output, such as ``dog`` or ``quarantine/truncated``.

    ``reason`` marks an unreadable image (a slug, with ``detail`` as the sentence for people); else it is None.
    ``detail`` without ``reason`` says that an image is unknown, and how strange it is. ``fate`` is what
    was decided of an image that was classified.
    """

    source: Source
    folder: str
    fate: Fate | None = None
    label: str | None = None
    confidence: float | None = None
    model_digest: str | None = None
    reason: str | None = None
    detail: str | None = None

    @property
    def kind(self) -> Kind:
        """Say what its folder is for."""
        if self.reason is not None:
            return "quarantine"
        return "class" if self.fate in (None, Fate.SURE) else "others"


class Filed(NamedTuple):
    """The outcome for one decision, as in ``row``; ``error`` says in a sentence why it is to be tried again."""

    decision: Decision
    status: Status
    row: Filing
    error: str | None = None

    @property
    def destination(self) -> Path | None:
        """Return where the image is now, or would be after a dry run."""
        return self.row.destination if self.status in (Status.FILED, Status.PLANNED) else None


class Filer:
    """Files images into the folders under ``output``.

    ``move`` takes them out of the inbox; ``copy`` and ``link`` (a hard link, or a copy where none is possible) leave
    them there and remember in the journal which ones are filed. Without a journal the memory ends with this object,
    and a crash may leave a ``.part`` file. A dry run changes nothing anywhere. ``skip_equal``: a copy is not made where
    an equal image lay, under its name or a number of it, before this object made any. ``roots``: the inboxes; of an
    image elsewhere no component of the path may be a symbolic link.
    """

    def __init__(
        self,
        output: Path,
        *,
        action: Action = "move",
        journal: Journal | None = None,
        dry_run: bool = False,
        skip_equal: bool = False,
        roots: Roots | None = None,
        mark: OutputMark | None = None,
        class_mounts: ClassMounts | None = None,
    ) -> None:
        """``mark`` of the output: who is at work there, and whether it is the right one, is asked for each batch.

        ``class_mounts``: which of its folders are drives of their own.
        """
        self._output = Output(output, roots, class_mounts)
        self._mark = mark
        self._action = action
        self._journal = Journal(None) if journal is None else journal
        self._dry_run = dry_run
        self._skip_equal = skip_equal
        self._made: set[Path | None] = set()
        self._planned: dict[str, set[str]] = {}  # names that a dry run has given out, by folder
        self._unfinished: set[tuple[int, int, int]] | None = set()  # None: nobody could look
        self._sidecars = Sidecars()

    def filed_before(self, path: Path, identity: Identity) -> bool:
        """Whether ``file`` is sure to answer ALREADY: nothing need be read or decoded then. Raises JournalBusy."""
        return self._action != "move" and self._journal.filed_before(identity, path, None)

    def file(self, decisions: Sequence[Decision]) -> list[Filed]:
        """File a batch; one outcome per decision, in order. An image's trouble is in its outcome, never raised."""
        try:
            with self._at_work():
                return self._file(decisions)
        except (OutputAway, FolderBusy) as error:
            rows = [self._row(decision, datetime.now(UTC)) for decision in decisions]
            return [
                Filed(decision, Status.RETRY, row, sentence(row, error))
                for decision, row in zip(decisions, rows, strict=True)
            ]

    def _at_work(self) -> AbstractContextManager[None]:
        return nullcontext() if self._mark is None else self._mark.at_work()

    def _file(self, decisions: Sequence[Decision]) -> list[Filed]:
        if self._mark is not None and (device := self._mark.device) is not None:
            self._output.stay_on(device)
        self._finish_earlier()
        now = datetime.now(UTC)
        transfers = [Transfer(decision.source.path.name, self._row(decision, now)) for decision in decisions]
        with Folders(self._output) as folders:
            plan = _Plan(folders, self._names_given_out(), make=not self._dry_run)
            for decision, image in zip(decisions, transfers, strict=True):
                self._plan(decision, image, plan)
            transfer.run(transfers, self._journal)
            for image in transfers:
                if image.status is Status.FILED and image.row.reason is not None:
                    write_reason(image.target, image.row)
                if image.row.id is not None and image.row.state in (State.INTENT, State.COPIED):
                    assert self._unfinished is not None, "nothing is begun before somebody could look"
                    self._unfinished.add(image.row.identity.on_any_device)
            filed = [image for image in transfers if image.status is Status.FILED and image.row.reason is None]
            if self._skip_equal:
                self._made.update(image.row.destination for image in filed)
            self._sidecars.follow(filed, self._journal)
        return [_filed(decision, image) for decision, image in zip(decisions, transfers, strict=True)]

    def resume(self) -> Counter[State]:
        """Recover what an earlier run left unfinished; count the states that it ends in.

        While the journal cannot be written the images concerned are tried again, and all of them while it cannot be
        read either, or while the output is away.
        """
        self._unfinished = None
        try:
            with self._at_work():
                return self._finish_earlier()
        except (OutputAway, FolderBusy):
            return Counter()

    def _finish_earlier(self) -> Counter[State]:
        """Recover again what could neither be finished nor taken back, before more copies of it are made."""
        recovered: Counter[State] = Counter()
        if self._unfinished != set():
            with suppress(JournalBusy):
                recovered = recover(self._journal, self._output.roots)
            with suppress(JournalBusy):
                self._unfinished = {row.identity.on_any_device for row in self._journal.unfinished()}
        return recovered

    def _names_given_out(self) -> dict[str, set[str]]:
        """Names given out by earlier batches of a dry run: no image has them now, but one would have."""
        if not self._dry_run:
            return {}
        if sum(map(len, self._planned.values())) >= MOST_PLANNED:
            self._planned.clear()
        return self._planned

    def _row(self, decision: Decision, now: datetime) -> Filing:
        source = decision.source
        return Filing(
            state=State.INTENT,
            action=self._action,
            source=source.path,
            identity=source.identity,
            sha256=source.sha256,
            label=decision.label,
            confidence=decision.confidence,
            model_digest=decision.model_digest,
            reason=decision.reason,
            detail=decision.detail,
            time=now,
        )

    def _plan(self, decision: Decision, image: Transfer, plan: _Plan) -> None:
        """Choose the destination, or finish the transfer before it begins."""
        try:
            self._choose(decision, image, plan)
        except SourceGone:
            image.finish(Status.GONE)
        except SourceChanged:
            image.finish(Status.CHANGED)
        except (OSError, JournalBusy) as error:
            image.finish(Status.RETRY, sentence(image.row, error))

    def _choose(self, decision: Decision, image: Transfer, plan: _Plan) -> None:
        row = image.row
        image.source = plan.folders.entry(row.source)
        if self._dry_run or row.reason is not None:  # else it is checked right before the move
            transfer.check_source(image.source, row)
        if self._unfinished is None:
            return image.finish(Status.RETRY, tr("What an earlier run left unfinished cannot be put right now."))
        if self._unfinished and row.identity.on_any_device in self._unfinished:
            stuck = tr("A copy of '{source}' can neither be finished nor taken back.", source=row.source)
            return image.finish(Status.RETRY, stuck)
        if self._action != "move":
            if row.identity in plan.identities or self._was_filed(row):
                return image.finish(Status.ALREADY)
            plan.identities.add(row.identity)
            if not self._dry_run and row.reason is None:
                self._drop_half(image, plan)
            if row.reason is not None:
                row.state = State.REFUSED
                return image.finish(Status.REFUSED) if self._dry_run else None
        row.folder = plan.folders.path(decision.folder)  # named in what is said where it cannot be opened
        place = plan.place(decision.folder, decision.kind)
        if self._skip_equal and place.folder is not None and self._is_there(row, place.folder, place.path):
            return image.finish(Status.ALREADY)
        name = place.free_name(image.wanted) if self._dry_run else place.name(image.wanted)
        image.target = Entry(-1 if place.folder is None else place.folder, name)
        row.filed_name = name
        return image.finish(Status.PLANNED) if self._dry_run else None

    def _was_filed(self, row: Filing) -> bool:
        """Whether the file was filed before, in this state or with the same content: a clock may have been set."""
        if self._journal.filed_before(row.identity, row.source, row.sha256):
            return True
        number = self._journal.same_filed(row.source, row.identity.size, lambda: row.sha256)
        if number is not None and not self._dry_run:
            self._journal.touch(number, row.identity)
        return number is not None

    def _drop_half(self, image: Transfer, plan: _Plan) -> None:
        """Remove what was copied or linked of an image before its writer had finished: the original has all of it."""
        source = image.row.source
        old = self._journal.newest([source], image.row.time - _GROWS)
        if old is None or old.destination is None or old.action == "move" or old.sha256 == image.row.sha256:
            return
        try:
            copy = plan.folders.entry(old.destination)
            if not copy.exists() and (name := name_of(copy.folder, old.filed_ino)) is not None:
                copy = copy._replace(name=name)
                image.wanted = name  # somebody has given the half this name, and the whole has it then
            if not is_one_folder(copy.folder, image.source.folder) and drop_half(copy, image.source, old):
                old.state = State.UNDONE
                self._journal.write_later([old])
                logger.info(tr("{source} changed after it was filed; what was filed of it before goes", source=source))
        except (OSError, SourceGone, SourceChanged) as error:
            logger.debug("{} stays: {}", shown(str(old.destination)), error)

    def _is_there(self, row: Filing, folder: int, path: Path) -> bool:
        """Whether a class folder has an equal image that this object did not copy there. Raises OSError."""
        limit = longest_name(folder)
        for number in count(1):
            existing = Entry(folder, numbered(row.source.name, number, limit))
            if not existing.exists():
                return False
            if path / existing.name not in self._made and has_content(existing, row):
                return True
        raise AssertionError("there are more numbers than names")


class _Place(NamedTuple):
    """A class folder as one batch sees it; ``folder`` is None where it is missing and not to be made."""

    folder: int | None
    path: Path
    longest_name: int
    taken: set[str]  # names given out to images of this batch

    def name(self, wanted: str) -> str:
        """A name that nobody in this batch has, taken from now on; in the folder it is mostly free. Raises OSError."""
        name = numbered(wanted, 1, self.longest_name)
        if name in self.taken:
            return self.free_name(wanted)
        self.taken.add(name)
        return name

    def free_name(self, wanted: str) -> str:
        """A name that nobody in this batch has and that seems free, taken from now on. Raises OSError."""
        name = free_name(self.folder, wanted, self.taken.__contains__, self.longest_name)
        self.taken.add(name)
        return name


@dataclass(frozen=True)
class _Plan:
    """What the decisions of one batch share: open folders, names given out, files already in the batch."""

    folders: Folders
    taken: dict[str, set[str]]
    make: bool
    identities: set[Identity] = field(default_factory=set)
    _places: dict[str, _Place] = field(default_factory=dict)

    def place(self, folder: str, kind: Kind) -> _Place:
        """A class folder, which is made where that is wanted. Raises OSError."""
        if folder not in self._places:
            descriptor = self.folders.class_folder(folder, make=self.make, kind=kind)
            taken = self.taken.setdefault(folder, set())
            path = self.folders.path(folder)
            self._places[folder] = _Place(descriptor, path, longest_name(descriptor), taken)
        return self._places[folder]


def _filed(decision: Decision, image: Transfer) -> Filed:
    assert image.status is not None
    return Filed(decision, image.status, image.row, image.error)
