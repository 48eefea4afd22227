"""File the images of a manifest on this machine: by the filer, in the journal, so that an undo takes it back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from loguru import logger

from daemon.archiving.applying import Applied, require_move
from daemon.archiving.decided import Decided
from daemon.archiving.stores import local_path
from daemon.config import Settings
from daemon.files import copying
from daemon.files.class_mounts import ClassMounts
from daemon.files.locks import FolderBusy
from daemon.files.output_mark import OUTPUT_MARK, REMEMBERED, OutputMark
from daemon.files.roots import Roots
from daemon.files.source import Identity, Source
from daemon.filing.filer import Action, Filer, FilingRequest
from daemon.filing.folder_layout import FolderLayout
from daemon.filing.held import HeldImages
from daemon.filing.status import Status, describe
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal, JournalBusy, read_history
from daemon.state import journal_of, lock
from models.errors import UserError
from models.files.ownership import make_folder
from models.text.language import tr

#: Images that are filed at a time.
_AT_ONCE = 64
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


class LocalFiling:
    """Files into the output of the settings; no daemon files there meanwhile."""

    def __init__(self, settings: Settings, action: Action, applied: Applied, *, dry_run: bool = False) -> None:
        self._output = settings.output
        self._action = action
        self._applied = applied
        self._journal_path = journal_of(settings.state_dir, self._output)
        self._refuse_if_renamed()
        with ExitStack() as closing:
            mark = None
            if not dry_run:
                self._say_if_lost()
                make_folder(self._output)
                mark = OutputMark(self._output, self._journal_path.parent)
                closing.callback(mark.release)
                try:
                    closing.enter_context(lock(self._journal_path.parents[1], [self._output]))
                except FolderBusy as error:
                    raise UserError(error.for_a_command) from error
            there = self._journal_path.exists() or not dry_run
            self._journal = Journal(self._journal_path if there else None, read_only=dry_run)
            closing.callback(self._journal.close)
            self._filer = Filer(
                self._output,
                action=action,
                journal=self._journal,
                dry_run=dry_run,
                roots=Roots([self._output]),
                mark=mark,
                class_mounts=None if dry_run else ClassMounts(self._journal_path.parent),
                held=HeldImages(self._journal, self._output),
                layout=FolderLayout(settings.layout),
            )
            if not dry_run:
                self._filer.recover()
            self._closing = closing.pop_all()
        self.run = self._journal.run

    def _say_if_lost(self) -> None:
        if not self._output.exists() and (self._journal_path.parent / REMEMBERED).exists():
            logger.warning(
                tr(
                    "the output folder {output} that images were filed into before is not there and is made anew; "
                    "these images count as filed. If it was renamed, stop, and give it its name again",
                    output=self._output,
                )
            )

    def _refuse_if_renamed(self) -> None:
        """Raise `UserError` where the journal has the output by another name: all would be filed there once more."""
        if OutputMark(self._output, self._journal_path.parent).had_another_name():
            raise UserError(
                tr(
                    "images were filed into {output} when it had another name, which the journal knows it by: give it "
                    "that name again; or, to file all images into it once more, delete {mark}",
                    output=self._output,
                    mark=self._output / OUTPUT_MARK,
                )
            )

    def close(self) -> None:
        """Release the output."""
        self._closing.close()

    def file(self, images: Iterable[Decided], stopping: Callable[[], bool]) -> None:
        """File images, some at a time, until ``stopping`` returns True."""
        coming = self._present(images)
        with copying.reporting_to(lambda: None, stopping):
            while not stopping() and (requests := list(islice(coming, _AT_ONCE))):
                for result in self._filer.file(requests):
                    path, folder, status = result.request.source.path, result.request.folder, result.status
                    if status is not Status.STOPPED:
                        self._applied.add(str(path), status, folder, describe(status), result.error)

    def _present(self, images: Iterable[Decided]) -> Iterator[FilingRequest]:
        """Yield the requests for the images that are still what the manifest says, and count the others."""
        for image in images:
            path = local_path(image.uri)
            if path is None:
                raise UserError(
                    tr(
                        "{uri} is no file of this machine: give an --output in the same store, such as {example}",
                        uri=image.uri,
                        example=f"{image.uri.partition('://')[0]}://bucket/sorted",
                    )
                )
            if image.folder is None:
                self._applied.unread += 1
                continue
            if path.is_relative_to(self._output):
                if path.is_relative_to(self._output / image.folder):
                    self._applied.add(str(path), Status.ALREADY, image.folder, "")  # it lies where it belongs
                    continue
                require_move(self._action, path)
            try:
                identity = Identity.from_stat(path.lstat())
            except (FileNotFoundError, NotADirectoryError):
                self._add_gone(image, path)
                continue
            except OSError as error:
                self._applied.add(str(path), Status.RETRY, image.folder, error.strerror or str(error))
                continue
            if (identity.size, identity.mtime_ns) != (image.size, image.mtime_ns):
                why = tr("it changed since it was archived; archive it again")
                self._applied.add(str(path), Status.CHANGED, image.folder, why)
                continue
            yield _request(image, Source(path, identity, image.sha256))

    def _add_gone(self, image: Decided, path: Path) -> None:
        """Count an image that is gone: an earlier run may have moved it."""
        assert image.folder is not None
        status = Status.ALREADY if self._was_moved(image, path) else Status.GONE
        self._applied.add(str(path), status, image.folder, describe(status))

    def _was_moved(self, image: Decided, path: Path) -> bool:
        try:
            if image.reason is None:
                filing = self._journal.last_filed_from([path], _EVER)
            elif not self._journal_path.exists():
                return False
            else:
                filing = next(read_history(self._journal_path, Wanted(name=os.fspath(path), reasons=()), 1), None)
        except JournalBusy:
            return False
        return filing is not None and filing.sha256 == image.sha256


def _request(image: Decided, source: Source) -> FilingRequest:
    assert image.folder is not None
    return FilingRequest(
        source=source,
        folder=image.folder,
        fate=image.fate,
        label=image.label,
        confidence=image.confidence,
        model_digest=None if image.reason else image.model,
        reason=image.reason,
        detail=image.detail,
    )
