"""Clear up private names that no journal explains: it was set aside, or the state folder was lost, or there is none.

A file that had lost its name for a moment gets it back. A copy that was broken off goes, but only once its original is
seen: it may be all that is left of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from loguru import logger

from daemon.files import renaming
from daemon.files.candidates import is_temporary_name
from daemon.files.marker import is_below, is_marked
from daemon.files.renaming import FileAt, close
from daemon.files.roots import NO_FOLDER, OpenFolders, Roots
from daemon.files.source import BeingWritten
from daemon.files.writers import unlink_closed
from daemon.filing.growth import is_earlier_state
from daemon.filing.private_names import COPIES, PrivateName, filing_of, plain_name, shortened
from daemon.journal.journal import Journal
from models.files.atomic import sync_folder
from models.files.leftovers import is_leftover
from models.text.language import tr

#: Under which the journal notes that everything was searched since it began.
_NOTE = "swept"
#: The most such files that are dealt with at one start.
_MANY = 10_000
_ALL = COPIES | {"drop", "claim"}


class StrayNames:
    """Searches the folders once in the life of a journal: what happens later, the journal explains.

    ``purposes``: only private names of these kinds. ``is_away``: whether an output is not there now. ``other_outputs``:
    those of classes that have their own.
    """

    def __init__(
        self,
        inboxes: Sequence[Path],
        output: Path,
        journal: Journal,
        *,
        recursive: bool = True,
        purposes: Collection[str] = _ALL,
        is_away: Callable[[], bool] = lambda: False,
        other_outputs: Sequence[Path] = (),
    ) -> None:
        self._inboxes = [*map(str, inboxes)]
        self._outputs = [str(output), *map(str, other_outputs)]
        self._roots = Roots([*inboxes, output, *other_outputs])
        self._journal = journal
        self._recursive = recursive
        self._purposes = purposes
        self._is_away = is_away
        self._was_complete = True

    def steps(self) -> Iterator[None]:
        """Search the folders, one name a step. Raises JournalBusy."""
        if self._journal.noted(_NOTE) is not None or self._is_away():
            return
        self._was_complete = True
        explained = {filing_of(row) for row in self._journal.interrupted()}
        strays: list[tuple[Path, PrivateName]] = []
        for folder, name in self._names():
            yield
            private = PrivateName.parse(name)
            if private is None or private.purpose not in self._purposes or private.filing in explained:
                continue
            if len(strays) < _MANY:
                strays.append((Path(folder, name), private))
        for path, private in strays:
            yield
            if private.purpose not in COPIES:
                self._give_back(path, private)
        yield from self._drop_copies([(path, private) for path, private in strays if private.purpose in COPIES])
        if self._was_complete:
            self._journal.note(_NOTE, "all")

    def _names(self) -> Iterator[tuple[str, str]]:
        pending, seen = [*self._outputs, *self._inboxes], set[str]()
        while pending:
            folder = pending.pop()
            if folder in seen:
                continue
            seen.add(folder)
            try:
                close(self._roots.open_folder(folder))  # no link lies in its place
                with os.scandir(folder) as entries:
                    for entry in entries:
                        yield folder, entry.name
                        if entry.is_dir(follow_symlinks=False) and self._is_part(entry):
                            pending.append(entry.path)
            except NO_FOLDER:
                continue
            except OSError as error:
                self._was_complete = False
                logger.debug("'{}' is looked through at the next start: {}", folder, error)

    def _is_part(self, folder: os.DirEntry[str]) -> bool:
        """Whether a folder is one of an output, or of an inbox and no other output's."""
        if is_temporary_name(folder.name) or is_leftover(folder.name):
            return False
        if is_below(folder.path, self._outputs):
            return True
        return self._recursive and not is_marked(folder.path)

    def _give_back(self, path: Path, private: PrivateName) -> None:
        try:
            with OpenFolders(self._roots) as folders:
                hidden = folders.entry(path)
                if not _is_file(hidden):
                    return
                back = renaming.put_back(hidden, hidden._replace(name=private.own_name))
                sync_folder(hidden.folder)
            logger.warning(
                tr(
                    "'{path}' was left behind by a program that was killed, and has its name again: '{name}'",
                    path=path,
                    name=back,
                )
            )
        except OSError as error:
            self._was_complete = False
            logger.warning(tr("'{path}' cannot have its name back now: {error}", path=path, error=error))

    def _drop_copies(self, copies: list[tuple[Path, PrivateName]]) -> Iterator[None]:
        if not copies:
            return
        originals: dict[Path, list[Path]] = {path: [] for path, _ in copies}
        wanted: dict[str, list[Path]] = {}
        for path, private in copies:
            wanted.setdefault(private.own_name, []).append(path)
        beginnings = {len(path.name.removesuffix(private.own_name).encode()) for path, private in copies}
        for folder, name in self._names():
            yield
            if PrivateName.parse(name) is None:
                for path in {path for end in _ends(name, beginnings) for path in wanted.get(end, ())}:
                    originals[path].append(Path(folder, name))
        for path, _ in copies:
            yield
            self._drop_copy(path, originals[path])

    def _drop_copy(self, path: Path, originals: list[Path]) -> None:
        """Remove a copy if it is empty, or one of these files holds all that it does."""
        try:
            with OpenFolders(self._roots) as folders:
                copy = folders.entry(path)
                if not _is_file(copy):
                    return
                held = copy.stat().st_size == 0 or any(self._holds(folders, original, copy) for original in originals)
                if not held:
                    logger.warning(
                        tr(
                            "'{path}' is a copy that was broken off, and its original is nowhere: it stays; delete it "
                            "if you do not need it",
                            path=path,
                        )
                    )
                elif unlink_closed(copy, _is_file):
                    logger.info(tr("'{path}' is removed: a copy that was broken off", path=path))
        except (OSError, BeingWritten) as error:
            self._was_complete = False
            logger.debug("'{}' is looked at again at the next start: {}", str(path), error)

    def _holds(self, folders: OpenFolders, original: Path, copy: FileAt) -> bool:
        with suppress(OSError):
            there = folders.entry(original)
            return _is_file(there) and is_earlier_state(copy, there)
        return False


def _ends(name: str, beginnings: Collection[int]) -> set[str]:
    """List the possible endings of the private name of a copy, for a file of this name with or without a number."""
    stem, dot, ending = name.rpartition(".")
    plain, _, number = stem.rpartition("_")
    names = {name, f"{plain}{dot}{ending}"} if plain and number.isdecimal() else {name}
    return {shortened(plain_name(own_name), beginning) for own_name in names for beginning in beginnings}


def _is_file(entry: FileAt) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISREG(entry.stat().st_mode)
    return False
