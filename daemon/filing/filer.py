"""File images: choose the destination for each request, and move, copy or link the image there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from loguru import logger

from daemon.config.class_rules import ClassRules, Handling
from daemon.files.class_mounts import ClassMounts
from daemon.files.copying import Stopping
from daemon.files.locks import FolderBusy
from daemon.files.output_mark import OutputAway, OutputMark
from daemon.files.output_marks import OutputMarks
from daemon.files.renaming import FileAt
from daemon.files.roots import Roots
from daemon.files.sidecar_names import follows, images_of
from daemon.files.source import Identity, SourceChanged, SourceGone
from daemon.filing import tagging, transfer
from daemon.filing.batch import Destination, FilingBatch
from daemon.filing.duplicates import Duplicates
from daemon.filing.equal_images import EqualImages
from daemon.filing.folder_layout import FolderLayout
from daemon.filing.folders import Folders, Output
from daemon.filing.growth import remove_earlier_copy
from daemon.filing.held import HeldImages
from daemon.filing.identity import is_one_folder
from daemon.filing.quarantine_notes import write_reason
from daemon.filing.recovery import recover
from daemon.filing.renamed import name_of
from daemon.filing.requests import FilingRequest, FilingResult, label_of
from daemon.filing.sidecars import Sidecars
from daemon.filing.status import STAYING, Status, sentence, status_of_staying
from daemon.filing.transfer import Transfer
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.records import Filing, State
from models.deciding.rule import Fate
from models.files.image_names import is_raw_name
from models.text.language import tr
from models.text.printable import shown

__all__ = ["Action", "Filer", "FilingRequest", "FilingResult", "Status"]

Action = Literal["move", "copy", "link", "tag"]

#: The most names that a dry run remembers having given out; beyond them it starts over, for it may go on for months.
MOST_PLANNED = 100_000
#: How long after a copy or link was made its original may turn out to have been incomplete then.
_GROWTH_PERIOD = timedelta(days=1)


class Filer:
    """Files images into the folders under ``output``.

    ``move`` takes them out of the inbox; ``copy`` and ``link`` (a hard link, or a copy where none is possible) leave
    them there and remember in the journal which ones are filed; ``tag`` leaves them, too, and has the class written
    into their XMP sidecars, see `tagging`. Without a journal the memory ends with this object,
    and a crash may leave a ``.part`` file. A dry run changes nothing anywhere. ``skip_equal``: an image is not
    copied if the folder held an identical file under its name (or name_2, ...) before this object wrote there, and the
    markers of folders are touched, so that a daemon does not take its images for a person's. ``rules`` of classes may
    say otherwise: another output, another layout or action; an image that is left is only noted in the journal.
    ``roots``: the inboxes; of an image elsewhere no component of the path may be a symbolic link.
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
        mark: OutputMark | OutputMarks | None = None,
        class_mounts: ClassMounts | None = None,
        held: HeldImages | None = None,
        sidecars: Sidecars | None = None,
        layout: FolderLayout | None = None,
        rules: ClassRules | None = None,
        tags_too: bool = False,
        duplicates: Duplicates | None = None,
        run: str = "",
    ) -> None:
        """``mark`` of the output: checked for each batch that it is the right folder and no other daemon files there.

        ``class_mounts``: which class folders are drives of their own. ``held``: images that are not filed.
        ``sidecars``: what sends sidecars after images. ``layout``: of the class folders; None: flat. ``rules`` of
        classes; None: ``action`` and ``layout`` hold for all. ``tags_too``: images that are filed into class folders
        are tagged there. ``duplicates``: what becomes of them; None: they are filed. ``run``: the name of the run that
        the rows are of, if it is not the journal's.
        """
        self._output = Output(output, roots, class_mounts)
        self._others: dict[Path, Output] = {}  # by the rules of classes
        self._mark = mark
        self._journal = Journal(None) if journal is None else journal
        self._held = held
        self.run = run
        self._dry_run = dry_run
        self._skip_equal = skip_equal
        self._equals = EqualImages(self._output.roots)
        self._planned: dict[str, set[str]] = {}  # names that a dry run has given out, by folder
        #: Inode, size and time of the images of interrupted filings; None: the journal could not be read yet.
        self._interrupted: set[tuple[int, int, int]] | None = set()
        self._sidecars = sidecars or Sidecars(held)
        self._layout = layout or FolderLayout()
        self._tags_too = tags_too
        self._duplicates = duplicates or Duplicates()
        template = self._layout.layout.template
        self.adopt(rules or ClassRules(Handling(output=self._output.path, action=action, layout=template)))

    def adopt(self, rules: ClassRules) -> None:
        """File by other rules of classes from now on."""
        self._rules = rules
        self._keeps_originals = rules.keeps_originals

    def known_result(self, path: Path, identity: Identity) -> Status | None:
        """Return HELD or ALREADY where ``file`` is sure to answer so: then nothing need be read. Raises JournalBusy."""
        if self._held is not None and self._held.holds(path, identity):
            return Status.HELD
        if is_raw_name(path.name) and self._goes_with_picture(path):
            return Status.ALREADY
        is_done = (self._keeps_originals and self._journal.filed_before(identity, path, None, or_left=True)) or (
            self._duplicates.are_left and self._journal.left_before(identity, path, None)
        )
        return Status.ALREADY if is_done else None

    def _goes_with_picture(self, path: Path) -> bool:
        """Whether a raw file follows a picture of its name that has come meanwhile, or that was filed lately."""
        if follows(str(path)):
            return True
        pictures = [Path(name) for name in images_of(str(path))]
        return self._journal.last_filed_from(pictures, datetime.now(UTC) - _GROWTH_PERIOD) is not None

    def file(self, requests: Sequence[FilingRequest]) -> list[FilingResult]:
        """File a batch: one outcome per request, in order. No image's error is raised: it is in its outcome."""
        try:
            with self._at_work():
                return self._file(requests)
        except (OutputAway, FolderBusy) as error:
            rows = [self._row(request, datetime.now(UTC)) for request in requests]
            return [
                FilingResult(request, Status.RETRY, row, sentence(row, error))
                for request, row in zip(requests, rows, strict=True)
            ]

    def _stay_on_its_device(self, output: Output) -> None:
        if self._mark is not None and (device := self._mark.device_of(output.path)) is not None:
            output.stay_on(device)

    def _output_of(self, rule: Handling) -> Output:
        if rule.output == self._rules.usual.output:
            return self._output
        if rule.output not in self._others:
            main = self._output
            mounts = None if main.class_mounts is None else main.class_mounts.of(rule.output, main.path)
            output = self._others[rule.output] = Output(rule.output, main.roots, mounts)
            self._stay_on_its_device(output)
        return self._others[rule.output]

    def _handling_of(self, request: FilingRequest) -> Handling:
        if request.kind != "class" or request.label is None:
            return self._rules.usual
        return self._rules.handling_of(request.label)

    def _at_work(self) -> AbstractContextManager[None]:
        return nullcontext() if self._mark is None else self._mark.at_work()

    def _file(self, requests: Sequence[FilingRequest]) -> list[FilingResult]:
        for output in (self._output, *self._others.values()):
            self._stay_on_its_device(output)
        self._recover_interrupted()
        now = datetime.now(UTC)
        transfers = [Transfer(request.source.path.name, self._row(request, now)) for request in requests]
        with Folders(self._output, touches=self._skip_equal) as folders:
            batch = FilingBatch(folders, self._names_given_out(), make=not self._dry_run)
            request_of = dict(zip(transfers, requests, strict=True))
            for images in self._duplicates.rounds(transfers):
                for image in images:
                    self._plan(request_of[image], image, batch)
                tagged = [image for image in images if image.row.action == "tag" and image.row.reason is None]
                transfer.run([image for image in images if image not in tagged], self._journal)
                tagging.run(tagged, self._journal)
            for image in transfers:
                if image.status is Status.FILED and image.row.reason is not None:
                    write_reason(image.target, image.row)
                if image.row.id is not None and image.row.state in (State.INTENT, State.COPIED):
                    assert self._interrupted is not None, "nothing is begun before the journal was read"
                    self._interrupted.add(image.row.identity.on_any_device)
            filed = [image for image in transfers if image.status is Status.FILED and image.row.reason is None]
            filed = [image for image in filed if image not in tagged]
            if self._skip_equal:
                self._equals.own.update(image.row.destination for image in filed)
            self._sidecars.follow(filed, self._journal)
            tagging.follow(filed, self._journal)
        return [_filed(request, image, batch) for request, image in zip(requests, transfers, strict=True)]

    def recover(self) -> Counter[State]:
        """Recover the filings that a crash interrupted; count the states that they end in.

        Until the journal can be written, the images of interrupted filings are tried again; until it can be read and
        the output is there, all images are.
        """
        self._interrupted = None
        try:
            with self._at_work():
                return self._recover_interrupted()
        except (OutputAway, FolderBusy):
            return Counter()

    def _recover_interrupted(self) -> Counter[State]:
        """Recover what could neither be finished nor taken back so far, before more copies of it are made."""
        recovered: Counter[State] = Counter()
        if self._interrupted != set():
            with suppress(JournalBusy):
                recovered = recover(self._journal, self._output.roots)
            with suppress(JournalBusy):
                self._interrupted = {row.identity.on_any_device for row in self._journal.interrupted()}
        return recovered

    def _names_given_out(self) -> dict[str, set[str]]:
        """Return the names that earlier batches of a dry run gave out: real images would have them now."""
        if not self._dry_run:
            return {}
        if sum(map(len, self._planned.values())) >= MOST_PLANNED:
            self._planned.clear()
        return self._planned

    def _row(self, request: FilingRequest, now: datetime) -> Filing:
        source = request.source
        return Filing(
            state=State.INTENT,
            action=request.action or self._handling_of(request).action,
            source=source.path,
            identity=source.identity,
            sha256=source.sha256,
            label=request.label,
            confidence=request.confidence,
            model_digest=request.model_digest,
            reason=request.reason,
            detail=request.detail,
            run=self.run,
            time=now,
        )

    def _plan(self, request: FilingRequest, image: Transfer, batch: FilingBatch) -> None:
        """Choose the destination, or end the transfer before it begins."""
        try:
            self._choose(request, image, batch)
        except SourceGone:
            image.end(Status.GONE)
        except SourceChanged:
            image.end(Status.CHANGED)
        except Stopping:
            image.end(Status.STOPPED)
        except (OSError, JournalBusy) as error:
            image.end(Status.RETRY, sentence(image.row, error))

    def _choose(self, request: FilingRequest, image: Transfer, batch: FilingBatch) -> None:
        row = image.row
        if self._held is not None and self._held.holds(row.source, row.identity):
            return image.end(Status.HELD)
        image.source = batch.folders.entry(row.source)
        stays = row.action in STAYING
        if self._dry_run or row.reason is not None or stays:  # else it is checked right before the move
            transfer.check_source(image.source, row)
        if self._interrupted is None:
            return image.end(Status.RETRY, tr("Filings that a crash interrupted cannot be recovered now."))
        if self._interrupted and row.identity.on_any_device in self._interrupted:
            stuck = tr("A copy of '{source}' can neither be finished nor taken back.", source=row.source)
            return image.end(Status.RETRY, stuck)
        if row.action != "move":
            if not request.again and (row.identity in batch.identities or self._was_filed(row)):
                return image.end(Status.ALREADY)
            batch.identities.add(row.identity)
            if not self._dry_run and row.reason is None and row.action != "tag":
                self._remove_earlier_copy(image, batch)
            if row.reason is not None or stays:
                row.state = State.LEFT if row.reason is None else State.REFUSED
                return image.end(status_of_staying(row)) if self._dry_run else None
        if row.action == "tag":
            return self._choose_tag(request, image)
        if self._duplicates.are_left and self._journal.left_before(row.identity, row.source, row.sha256):
            return image.end(Status.ALREADY)
        is_duplicate = self._is_duplicate(image, batch)
        if is_duplicate and self._duplicates.are_left:
            return self._leave(image)
        folder = self._folder_of_duplicates(row, batch) if is_duplicate else self._folder_of(request, image, batch)
        if self._skip_equal and (equal := self._equal_image(row, folder, request)) is not None:
            row.folder, row.filed_name = equal.parent, equal.name
            self._duplicates.remember(row)
            return image.end(Status.ALREADY)
        name = folder.free_name(image.wanted) if self._dry_run else folder.name(image.wanted)
        image.target = FileAt(-1 if folder.descriptor is None else folder.descriptor, name)
        row.filed_name = name
        if request.how is not None:
            image.label = label_of(request.how, row)
        if self._tags_too and request.kind == "class" and not is_duplicate:
            image.then = tagging.follow_up
        if self._dry_run:
            self._duplicates.remember(row)
            image.end(Status.PLANNED)
        return None

    def _folder_of(self, request: FilingRequest, image: Transfer, batch: FilingBatch) -> Destination:
        """Open the folder that an image goes to; its row has it, too, for the error sentence if it cannot be opened."""
        row, rule = image.row, self._handling_of(request)
        if request.fate is Fate.SURE:  # a folder in an inner one would be a class
            batch.inside[image] = self._layout.by(rule.layout).place(row, image.source, request.origin)
        inside, output = batch.inside.get(image, ""), self._output_of(rule)
        if output is not self._output:
            batch.elsewhere[image] = output.path
        row.folder = output.path / (f"{request.folder}/{inside}" if inside else request.folder)
        return batch.destination_folder(output, request.folder, request.kind, inside)

    def _folder_of_duplicates(self, row: Filing, batch: FilingBatch) -> Destination:
        row.folder = self._output.path / self._duplicates.folder
        return batch.destination_folder(self._output, self._duplicates.folder, "duplicate")

    def _is_duplicate(self, image: Transfer, batch: FilingBatch) -> bool:
        """Whether an image is a duplicate; then note so in its row. Raises JournalBusy and Stopping."""
        row = image.row
        original = self._duplicates.original_of(row, self._journal, batch.folders, dry_run=self._dry_run)
        if original is not None:
            batch.originals[image] = original.path
            original.note_in(row, self._output.path)
        return original is not None

    def _leave(self, image: Transfer) -> None:
        """Leave a duplicate where it is, with a row that keeps it from being looked at again."""
        image.row.state, image.row.action = State.LEFT, "leave"
        if self._dry_run:
            return image.end(Status.LEFT)
        return transfer.check_source(image.source, image.row)  # the row would be of another file

    def _choose_tag(self, request: FilingRequest, image: Transfer) -> None:
        """Let an image be tagged where it lies, or lose a tag of ours where it is sure to be of no class."""
        row = image.row
        row.folder = row.source.parent if request.kind == "class" else self._output.path / request.folder
        row.filed_name = row.source.name if request.kind == "class" else None
        if request.how is not None:
            image.label = label_of(request.how, row)
        if self._dry_run:
            image.end(Status.PLANNED)

    def _was_filed(self, row: Filing) -> bool:
        """Whether the file was filed before, in this state or with the same content: a clock may have been set."""
        if self._journal.filed_before(row.identity, row.source, row.sha256, or_left=True):
            return True
        row_id = self._journal.same_filed(row.source, row.identity.size, lambda: row.sha256)
        if row_id is not None and not self._dry_run:
            self._journal.touch(row_id, row.identity)
        return row_id is not None

    def _remove_earlier_copy(self, image: Transfer, batch: FilingBatch) -> None:
        """Remove the copy or link made before the writer of the image had finished: the original has all of it."""
        source = image.row.source
        old = self._journal.last_filed_from([source], image.row.time - _GROWTH_PERIOD)
        if old is None or old.destination is None or old.action in ("move", "tag") or old.sha256 == image.row.sha256:
            return
        try:
            copy = batch.folders.entry(old.destination)
            if not copy.exists() and (name := name_of(copy.folder, old.filed_ino)) is not None:
                copy = copy._replace(name=name)
                image.wanted = name  # a person has renamed the earlier copy: the complete one gets that name
            if not is_one_folder(copy.folder, image.source.folder) and remove_earlier_copy(copy, image.source, old):
                old.state = State.UNDONE
                self._journal.write_later([old])
                logger.info(
                    tr("{source} changed after it was filed; the copy that was filed before is removed", source=source)
                )
        except (OSError, SourceGone, SourceChanged) as error:
            logger.debug("{} stays: {}", shown(str(old.destination)), error)

    def _equal_image(self, row: Filing, folder: Destination, request: FilingRequest) -> Path | None:
        """Find an equal image that was in a class folder before this object filed any. Raises OSError.

        Where the layout goes by the time of filing, it may lie in another folder of its class.
        """
        found = self._equals.find_in(folder, row)
        rule = self._handling_of(request)
        if found is None and request.fate is Fate.SURE and self._layout.by(rule.layout).layout.uses_filed:
            return self._equals.find_inside(rule.output / request.folder, row, folder.longest_name)
        return found


def _filed(request: FilingRequest, image: Transfer, batch: FilingBatch) -> FilingResult:
    assert image.status is not None
    return FilingResult(
        request,
        image.status,
        image.row,
        image.error,
        inside=batch.inside.get(image, ""),
        elsewhere=batch.elsewhere.get(image),
        original=batch.originals.get(image),
    )
