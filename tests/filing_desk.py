"""An inbox, an output folder and a journal, and the means to see that every image is in exactly one place."""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon.files.marker import MARKER
from daemon.files.output_mark import OUTPUT_MARK
from daemon.files.source import Identity, open_source
from daemon.filing.filer import Action, Filer, FilingRequest, FilingResult
from daemon.filing.held import HeldImages
from daemon.filing.undo import Undone, undo
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal
from daemon.journal.records import Filing, State
from models.deciding.rule import Fate

_FAR = Path("/dev/shm")
_DAC_OVERRIDE, _DAC_READ_SEARCH, _LINUX_CAPABILITY_VERSION_3 = 1, 2, 0x20080522


@dataclass
class Desk:
    """One place to work; ``filer()`` and ``journal()`` open things anew, as a restarted program does."""

    inbox: Path
    output: Path
    journal_path: Path

    def put(self, name: str = "cat.jpg", content: bytes = b"an image") -> Path:
        """A new image in the inbox."""
        path = self.inbox / name
        path.write_bytes(content)
        return path

    def decide(self, path: Path, folder: str = "cat", **more: Any) -> FilingRequest:
        """A request to file an image of the inbox."""
        source = open_source(path, max_bytes=more.pop("max_bytes", 1 << 24))
        more.setdefault("fate", None if more.get("reason") else Fate.SURE)
        return FilingRequest(source=source, folder=folder, label=more.pop("label", folder), **more)

    def intent(self, path: Path, folder: str = "cat") -> Filing:
        """The row of a move that a crash interrupted before anything was done."""
        return Filing(
            state=State.INTENT,
            action="move",
            source=path,
            identity=Identity.from_stat(path.stat()),
            folder=self.output / folder,
            filed_name=path.name,
        )

    def journal(self) -> Journal:
        return Journal(self.journal_path, timeout=0.1)

    def file(self, decisions: Sequence[FilingRequest], *, action: Action = "move", **more: Any) -> list[FilingResult]:
        """File a batch as a program does that starts for it and ends."""
        journal = self.journal()
        try:
            return Filer(self.output, action=action, journal=journal, **more).file(decisions)
        finally:
            journal.close()

    def file_one(self, path: Path, folder: str = "cat", *, action: Action = "move", **more: Any) -> FilingResult:
        """Decide and file one image."""
        (filed,) = self.file([self.decide(path, folder, **more)], action=action)
        return filed

    def give_number_again(self, old: int, path: Path) -> None:
        """Let the journal know a file's inode number as that of an earlier file, which is gone.

        File systems do give them once more, but not so surely that a test could wait for it.
        """
        with closing(sqlite3.connect(self.journal_path)) as db:
            new = path.stat().st_ino
            db.execute("UPDATE filings SET ino = ? WHERE ino = ?", (new, old))
            db.execute("UPDATE filings SET copy_ino = ? WHERE copy_ino = ?", (new, old))
            db.commit()

    def replace_by_stranger(self, path: Path, content: bytes = b"a stranger's") -> None:
        """Delete a filed image, and put another file there that is given its inode number."""
        old = path.stat().st_ino
        path.unlink()
        path.write_bytes(content)
        self.give_number_again(old, path)

    def contents(self) -> Counter[bytes]:
        """The bytes of every image there is, wherever it is and whatever it is called."""
        return Counter(path.read_bytes() for root in (self.inbox, self.output) for path in images(root))

    def filed(self) -> dict[str, bytes]:
        """What is in the output: path below it -> bytes."""
        return {str(path.relative_to(self.output)): path.read_bytes() for path in images(self.output)}


def images(root: Path) -> list[Path]:
    """Every file below a folder that is not this program's own note, hidden ones too."""
    paths = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
    return sorted(path for path in paths if path.name not in (MARKER, OUTPUT_MARK) and not _is_note(path))


def _is_note(path: Path) -> bool:
    """Whether a file says why the image beside it is in quarantine."""
    return path.suffix == ".json" and path.parent.parent.name == "quarantine"


def tree(root: Path) -> dict[str, tuple[Any, ...]]:
    """Everything about a folder that a program could change: kinds, modes, times and bytes."""
    everything = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        everything[str(path)] = (status.st_mode, status.st_ino, status.st_mtime_ns, content)
    return everything


@contextmanager
def far_folder() -> Iterator[Path]:
    """A folder on another file system than the temporary one; skips where there is none."""
    if not _FAR.is_dir() or _FAR.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip(f"{_FAR} is no other file system than the temporary folder's")
    folder = Path(tempfile.mkdtemp(dir=_FAR, prefix="imagesortd-test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def make_desk(near: Path, far: Path | None = None) -> Desk:
    """A desk whose output is on another file system where ``far`` is given."""
    inbox = near / "inbox"
    inbox.mkdir()
    return Desk(inbox, (far or near) / "sorted", near / "state" / "journal.db")


@contextmanager
def bound_by_modes() -> Iterator[None]:
    """Let file modes bind this thread even when it runs as root."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    before = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    without = (ctypes.c_uint32 * 6)(*before)
    without[0] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    assert libc.capset(header, without) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


#: What stands in for a system call.
Seam = Callable[..., Any]


def failing(code: int, *, after: int = 0, real: Seam | None = None) -> Seam:
    """A call that fails with an error number once it was made ``after`` times."""
    left = [after]

    def fail(*args: Any, **more: Any) -> Any:
        if left[0] and real is not None:
            left[0] -= 1
            return real(*args, **more)
        raise OSError(code, os.strerror(code))

    return fail


def names(folder: Path) -> set[str]:
    """What is in a folder."""
    return {entry.name for entry in folder.iterdir()}


def undo_all(desk: Desk, *, held: bool = False) -> list[Undone]:
    """Undo all that the journal has as done, newest first."""
    journal = desk.journal()
    try:
        images = HeldImages(journal, desk.output, [desk.inbox]) if held else None
        rows = [row for row in journal.history(Wanted(states=[State.DONE])) if row.image_id is None]
        return list(undo(journal, rows, held=images))
    finally:
        journal.close()
