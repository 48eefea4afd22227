"""Find out whether a person moved or placed a file that lies in a class folder and was not looked at yet.

The journal is only read here, beside the work loop; what is found is checked once more where it is written.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from daemon.correcting.class_folders import ClassFolders
from daemon.correcting.survey import Origin, Sighting
from daemon.files.candidates import is_candidate
from daemon.files.outputs import output_of
from daemon.files.renaming import FileAt, close
from daemon.files.roots import OpenFolders, Roots
from daemon.files.source import OPEN_FLAGS, Identity
from daemon.files.writers import is_being_written
from daemon.filing.identity import is_in_filed_state, is_same_inode
from daemon.journal.labels import How, Label, WantedLabels
from daemon.journal.reader import JournalReader
from daemon.journal.records import Filing

#: Seconds without a change after which a file that came is complete; one this old is at once.
QUIET, _OLD = 2.0, 10.0
#: Seconds until a file is looked at again: one that a program has open, and one whose original is still there.
_WRITTEN, _COPIES = 30.0, (10.0, 60.0, 600.0)
#: Bytes that are read at a step.
_CHUNK = 1 << 20
#: Files that wait for their content to be read; the survey waits beyond them.
MOST_WAITING = 2_000
#: The kinds of labels that this package writes; it takes back no others.
OURS = (How.MOVED, How.PLACED)


@dataclass(frozen=True, slots=True)
class Found:
    """An image that a person moved or placed; ``how`` None: it is back where it was filed.

    ``label`` None: it is none of the classes. ``filing`` is the newest of the image, ``filed_with`` the id of the
    newest with its inode number, whatever file that was of.
    """

    sighting: Sighting
    path: Path
    identity: Identity
    sha256: str
    label: str | None
    how: How | None
    filing: Filing | None
    filed_with: int | None


@dataclass(slots=True)
class _Waiting:
    """A file that waits for its content to be read, as it was when it was looked at."""

    sighting: Sighting
    path: Path
    identity: Identity
    rows: list[Filing]
    due: float
    copies_seen: int = 0
    is_over: bool = False


class Examiner:
    """Examines files; ``found`` is called with what a person did. All in one thread. Methods raise sqlite3.Error."""

    def __init__(
        self,
        output: Path,
        meanings: ClassFolders,
        journal: JournalReader,
        found: Callable[[Found], None],
        *,
        max_bytes: int,
        beside: Sequence[Path] = (),
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``max_bytes``: larger files are not read, since none of them is filed as an image of a class.

        ``beside``: the other outputs, which an image may have been filed into.
        """
        self.max_bytes = max_bytes
        self._output = output
        self._meanings = meanings
        self._journal = journal
        self._found = found
        self._clock, self._wall = clock, wall
        self._beside = beside
        self._roots = Roots([output, *beside])
        self._waiting: dict[tuple[str, str], _Waiting] = {}

    @property
    def has_room(self) -> bool:
        """Whether more files may wait."""
        return len(self._waiting) < MOST_WAITING

    @property
    def due(self) -> float | None:
        """Return when the next file is to be read."""
        return min((waiting.due for waiting in self._waiting.values()), default=None)

    def undecided(self) -> Iterator[tuple[str, int]]:
        """Yield the keys of the files that wait."""
        return (waiting.sighting.key for waiting in self._waiting.values())

    def examine(self, sightings: Sequence[Sighting]) -> None:
        """Examine some files; those whose content must be read wait for `steps`."""
        sightings = self._doubtful(sightings)
        statuses = [(sighting, status) for sighting in sightings if (status := self._status(sighting)) is not None]
        rows: dict[int, list[Filing]] = {}
        if statuses:
            for row in self._journal.filed_with_inode({status.st_ino for _, status in statuses}):
                rows.setdefault(row.filed_ino, []).append(row)
        for sighting, status in statuses:
            self._examine(sighting, status, rows.get(status.st_ino, []))

    def _doubtful(self, sightings: Sequence[Sighting]) -> list[Sighting]:
        """Leave out what need not be examined: what lies where it was filed, and files of which nothing is known."""
        places = self._journal.last_filed({sighting.inode for sighting in sightings if sighting.inode})
        labelled = self._journal.labelled([filing for filing, _ in places.values()])
        # At the first look at a million files, every one of them comes here.
        folders = {folder for _, folder in places.values()}
        filed = {folder: self._class_of(None if folder is None else Path(folder)) for folder in folders}
        lies = {folder: self._meanings.class_of(folder) for folder in {sighting.folder for sighting in sightings}}
        doubtful = []
        for sighting in sightings:
            place = places.get(sighting.inode)
            if place is None:
                is_doubtful = sighting.origin is not Origin.UNKNOWN
            else:
                is_doubtful = filed[place[1]] != lies[sighting.folder] or place[0] in labelled
            if is_doubtful and is_candidate(sighting.name):
                doubtful.append(sighting)
        return doubtful

    def _status(self, sighting: Sighting) -> os.stat_result | None:
        with suppress(OSError):
            status = self._roots.status(str(self._path(sighting)))
            if stat.S_ISREG(status.st_mode):
                return status
        return None

    def _examine(self, sighting: Sighting, status: os.stat_result, rows: list[Filing]) -> None:
        images = [row for row in rows if row.image_id is None]
        if rows and not images:
            return  # a sidecar
        filed = next((row for row in images if is_in_filed_state(status, row)), None)
        if filed is not None and filed.sha256 is not None and not self._is_there(filed, self._path(sighting)):
            self._conclude(sighting, Identity.from_stat(status), filed.sha256, filed, images)
        elif images or sighting.origin is not Origin.UNKNOWN:
            self._wait(sighting, status, images)

    def _wait(self, sighting: Sighting, status: os.stat_result, rows: list[Filing]) -> None:
        age = self._wall() - max(status.st_mtime, status.st_ctime)
        due = self._clock() + (0.0 if age > _OLD else QUIET)
        identity = Identity.from_stat(status)
        self._waiting[sighting.folder, sighting.name] = _Waiting(sighting, self._path(sighting), identity, rows, due)

    def steps(self) -> Iterator[None]:
        """Read the files that are due, a part of one at each step."""
        now = self._clock()
        for key, waiting in [(key, waiting) for key, waiting in self._waiting.items() if waiting.due <= now]:
            waiting.is_over = True
            try:
                yield from self._read(waiting)
            except OSError as error:
                logger.debug("{} is not looked at: {}", waiting.path, error)
            if waiting.is_over and self._waiting.get(key) is waiting:
                del self._waiting[key]

    def _read(self, waiting: _Waiting) -> Iterator[None]:
        with OpenFolders(self._roots) as folders:
            image = folders.entry(waiting.path)
            sha256 = yield from self._content(image, waiting)
            if sha256 is None:
                return
            rows, path = waiting.rows, waiting.path
            filed = next((row for row in rows if _is_it(image, row, waiting.identity, sha256)), None)
            if filed is None:
                filed = self._filed_as(path, waiting.identity, sha256)
                if filed is not None and filed.destination == path:
                    return  # it was saved anew, or restored
            if filed is not None and self._is_there(filed, path):
                self._look_later(waiting)
                return
            self._conclude(waiting.sighting, waiting.identity, sha256, filed, rows)

    def _content(self, image: FileAt, waiting: _Waiting) -> Generator[None, None, str | None]:
        """Hash a file; None where it is not complete yet: then it waits on."""
        descriptor = os.open(image.name, OPEN_FLAGS, dir_fd=image.folder)
        try:
            identity = Identity.from_stat(os.fstat(descriptor))
            if identity != waiting.identity:
                self._wait_for(waiting, identity, QUIET)
                return None
            if is_being_written(image):
                self._wait_for(waiting, identity, _WRITTEN)
                return None
            if identity.size > self.max_bytes:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            digest, left = hashlib.sha256(), identity.size + 1
            while chunk := os.read(descriptor, min(_CHUNK, left)):
                digest.update(chunk)
                left -= len(chunk)
                yield
            identity = Identity.from_stat(os.fstat(descriptor))
            if identity != waiting.identity:
                self._wait_for(waiting, identity, QUIET)
                return None
            if left != 1:
                raise OSError(errno.EIO, "it has not as many bytes as its size says")
            return digest.hexdigest()
        finally:
            close(descriptor)

    def _wait_for(self, waiting: _Waiting, identity: Identity, seconds: float) -> None:
        waiting.identity, waiting.due, waiting.is_over = identity, self._clock() + seconds, False

    def _look_later(self, waiting: _Waiting) -> None:
        """Wait for the original of a copy to go: a move to another file system is first a copy."""
        if waiting.copies_seen < len(_COPIES):
            self._wait_for(waiting, waiting.identity, _COPIES[waiting.copies_seen])
            waiting.copies_seen += 1

    def _filed_as(self, path: Path, identity: Identity, sha256: str) -> Filing | None:
        """Find the filing of an image that has another inode now: it was saved anew there, or moved by a copy."""
        for row in self._journal.alike(path, identity.size, sha256):
            if row.destination == path and not self._was_moved_from(path, row):
                return row
            if row.sha256 == sha256 and row.identity.size == identity.size and row.destination != path:
                return row
        return None

    def _was_moved_from(self, path: Path, row: Filing) -> bool:
        """Whether it is known that the image which was filed to a path lies elsewhere now."""
        newest = None if row.id is None else next(self._journal.labels(WantedLabels(filings=[row.id])), None)
        return newest is not None and newest.path != path

    def _is_there(self, row: Filing, path: Path) -> bool:
        """Whether an image still lies where it was filed, so that the file at another ``path`` is a copy or link."""
        if row.destination is None or row.destination == path:
            return False
        try:
            status = self._roots.status(str(row.destination))
        except OSError:
            return False
        return is_in_filed_state(status, row) or (stat.S_ISREG(status.st_mode) and status.st_ino == row.filed_ino)

    def _conclude(
        self, sighting: Sighting, identity: Identity, sha256: str, filed: Filing | None, rows: Sequence[Filing]
    ) -> None:
        label = self._meanings.label_of(sighting.folder)
        how: How | None = How.PLACED if filed is None else How.MOVED
        if filed is not None and self._class_of(filed.folder) == self._meanings.class_of(sighting.folder):
            if not self._is_corrected(sha256, label):
                return
            how = None
        elif label is None and (filed is None or filed.reason is not None):
            return  # of an image that was not classified, the folder it was filed to says nothing
        filed_with = rows[0].id if rows else None
        path = self._path(sighting)
        self._found(Found(sighting, path, identity, sha256, label, how, filed, filed_with))

    def _is_corrected(self, sha256: str, label: str | None) -> bool:
        newest = next(self._journal.labels(WantedLabels(sha256=[sha256])), None)
        return newest is not None and can_be_taken_back(newest, label)

    def _class_of(self, folder: Path | None) -> str | None:
        if folder is None:
            return None
        if self._output in folder.parents:
            return self._meanings.class_of(str(folder.relative_to(self._output)))
        output = output_of(folder, self._beside)  # in which nobody is known to have renamed a folder
        return None if output is None else self._meanings.class_named(str(folder.relative_to(output)))

    def _path(self, sighting: Sighting) -> Path:
        return self._output / sighting.folder / sighting.name


def can_be_taken_back(label: Label, present: str | None) -> bool:
    """Whether a label contradicts where its image lies now, and was made because of where it lay before."""
    return not label.forgotten and label.how in OURS and label.label != present


def _is_it(image: FileAt, row: Filing, identity: Identity, sha256: str) -> bool:
    """Whether a file is the image that was filed with its inode number, edited or not, and no later file."""
    return row.sha256 == sha256 or is_same_inode(image, row, identity.ino)
