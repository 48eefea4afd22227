"""Images that an undo has brought back, and that are not filed again until they change, are renamed or released.

An image is held by its path, its size, its time and its inode number. Device numbers may change when the machine
starts anew. So do inode numbers on some file systems (FAT, shares), and a share may round a time a moment after the
file was written: there the content decides, which is read once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from loguru import logger

from daemon.files.copying import Stopping, sha256_of
from daemon.files.marker import is_marked
from daemon.files.roots import NO_FOLDER, OpenFolders, Roots
from daemon.files.sidecar_names import beginnings, exactness, owners
from daemon.files.source import Identity
from daemon.filing.rounds import Rounds
from daemon.journal.held import Held
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.records import Filing, State
from models.text.language import trn

#: Pause between two looks at the held images: seconds, or this multiple of the duration of a look, if longer.
PAUSE, TIMES = 60.0, 20
#: Nanoseconds by which file systems round times down: at most 2 s (FAT), and never to less than 100 ns.
_ROUNDED_BY, _ROUNDED_TO = 2 * 10**9, 100


class HeldImages:
    """The held images, as the journal has them. Read at the first use; where that fails, it raises JournalBusy.

    For nearly everybody there are none, and a question costs nothing.
    """

    def __init__(
        self,
        journal: Journal,
        output: Path | None = None,
        inboxes: Sequence[Path] = (),
        *,
        other_outputs: Sequence[Path] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``output``, ``other_outputs`` and ``inboxes`` say which folders are class folders, where nothing is held.

        ``other_outputs`` are the outputs of classes that have their own.
        """
        self._journal = journal
        self._output = output
        self._other_outputs = other_outputs
        self._inboxes = inboxes
        self._roots = Roots([*inboxes, *([] if output is None else [output]), *other_outputs])
        self._held: dict[str, Held] | None = None
        self._by_beginning: dict[tuple[str, str], list[str]] | None = None
        self._rounds = Rounds(self._look, pause=PAUSE, times=TIMES, clock=clock)

    def __len__(self) -> int:
        with suppress(JournalBusy):
            return len(self._all())
        return 0

    @property
    def example(self) -> Path | None:
        """Return one of them; None if there is none."""
        return next((held.path for held in self._all().values()), None) if len(self) else None

    def __str__(self) -> str:
        return trn(
            "1 image is held, since it was undone: {example} (python -m daemon release lets it be filed again)",
            "{count} images are held, since they were undone, such as {example} (python -m daemon release lets them be "
            "filed again)",
            len(self),
            example=self.example,
        )

    def applies_to(self, path: Path) -> bool:
        """Whether an image that goes back to this path is held there: it is in an inbox, not in a class folder."""
        if any(other in path.parents for other in self._other_outputs):
            return False
        output = self._output
        if output is None or output not in path.parent.parents:
            return True  # an inbox may be the output itself
        inside = [folder for folder in path.parents if output in folder.parents]
        if any(inbox in inside for inbox in self._inboxes):
            return not is_marked(str(path.parent))
        return path.parent.is_dir() and not any(is_marked(str(folder)) for folder in inside)

    def holds(self, path: Path, identity: Identity) -> bool:
        """Whether a file in this state is held. Raises JournalBusy."""
        return self.holds_state(str(path), identity.size, identity.mtime_ns, identity.ino)

    def seems_held(self, path: str, size: int, mtime_ns: int, inode: int) -> bool:
        """Whether a file in this state is held, as far as the journal can be read now: so that nobody need read it."""
        with suppress(JournalBusy):
            return self.holds_state(path, size, mtime_ns, inode)
        return False

    def holds_state(self, path: str, size: int, mtime_ns: int, inode: int) -> bool:
        """Whether a file in this state is held; an ``inode`` of 0 is not known. Raises JournalBusy."""
        held = self._all().get(path)
        if held is None or size != held.identity.size:
            return False
        same_time, same_inode = mtime_ns == held.identity.mtime_ns, inode in (0, held.identity.ino)
        if same_time and same_inode:
            return True
        if not same_time and not _may_be_rounded(mtime_ns, held.identity.mtime_ns):
            return False
        return self._has_same_content(held, (size, mtime_ns))

    def is_held_for(self, filing: Filing, identity: Identity) -> bool:
        """Whether the file that a filing took is held because that filing was undone, or is about to be.

        Raises JournalBusy.
        """
        held = self._all().get(str(filing.source))
        return held is not None and held.filing_id == filing.id and self.holds(filing.source, identity)

    def back_at(self, filing: Filing) -> Path | None:
        """Return where the image of a filing is held that was undone, or that a killed undo has not marked so.

        Raises JournalBusy.
        """
        return next((held.path for held in self._all().values() if held.filing_id == filing.id), None)

    def keeps(self, sidecar: Path, image: str) -> bool:
        """Whether a sidecar belongs to a held image of its folder as much as to ``image``. Raises JournalBusy."""
        if not self._all():
            return False
        if self._by_beginning is None:
            self._by_beginning = {}
            for held in self._all().values():
                for beginning in beginnings(held.path.name):
                    self._by_beginning.setdefault((str(held.path.parent), beginning), []).append(held.path.name)
        fits = exactness(sidecar.name, image)
        return any(
            other != image and _is_as_exact(exactness(sidecar.name, other), fits)
            for key in owners(sidecar.name)
            for other in self._by_beginning.get((str(sidecar.parent), key), ())
        )

    def hold(self, held: Sequence[Held]) -> None:
        """Take note of images that the journal has as held already."""
        for image in held:
            self._all()[str(image.path)] = image
        self._by_beginning = None

    def find(self, name: str, path: str) -> list[Held]:
        """Find the held images of this name; or of this path, given as an absolute one, or as the end of one."""
        if "/" not in name:
            return [held for held in self._all().values() if held.path.name == name]
        exact = self._all().get(path)
        if exact is not None:
            return [exact]
        ending = "/" + str(Path(name))
        return [held for held in self._all().values() if str(held.path).endswith(ending)]

    def all(self) -> list[Held]:
        """List all of them, in the order in which they were held."""
        return list(self._all().values())

    def release(self, held: Sequence[Held]) -> None:
        """Hold images no longer, durably. Raises JournalBusy."""
        self._journal.release(held)
        for image in held:
            if self._all().get(str(image.path)) == image:
                del self._all()[str(image.path)]
        self._by_beginning = None

    def release_at(self, paths: Collection[Path]) -> None:
        """Release what the journal has as held at these paths, where no image has come. Raises JournalBusy."""
        if paths and (held := [image for image in self._journal.held() if image.path in paths]):
            self.release(held)

    def is_there(self, held: Held) -> bool | None:
        """Whether a held image is there, unchanged; None where its drive may not be mounted. Raises JournalBusy."""
        try:
            with OpenFolders(self._roots) as folders:
                entry = folders.entry(held.path)
                identity = Identity.from_stat(entry.stat())
        except NO_FOLDER:
            return False if _device_at(held.path.parent) == held.identity.dev else None
        except OSError:
            return None
        return self.holds(held.path, identity)

    def work(self, seconds: float) -> bool:
        """Release what is gone or has changed, for at most ``seconds``; return whether there is more to look at."""
        return self._rounds.work(seconds)

    def _look(self) -> Iterator[None]:
        try:
            over = []
            for held in self.all():
                if self.is_there(held) is False:
                    over.append(held)
                yield
            if over:
                self.release(over)
        except JournalBusy as error:
            logger.debug("the held images are looked at again later: {}", error)

    def _all(self) -> dict[str, Held]:
        if self._held is None:
            self._held = {str(held.path): held for held in self._journal.held()}
        return self._held

    def _has_same_content(self, held: Held, state: tuple[int, int]) -> bool:
        """Whether the file, in this state, has the content that was filed; then that is remembered as held."""
        sha256 = self._content_filed(held)
        if sha256 is None:
            return False
        try:
            with OpenFolders(self._roots) as folders:
                entry = folders.entry(held.path)
                has_content = sha256_of(entry) == sha256
                now = Identity.from_stat(entry.stat())
        except Stopping:
            return True  # not filed now, at any rate
        except OSError:
            return False
        if not has_content or state != (now.size, now.mtime_ns):
            return False
        newer = replace(held, identity=now)
        self.hold([newer])
        with suppress(JournalBusy):  # it is found out again at the next start
            self._journal.write([], held=[newer])
        return True

    def _content_filed(self, held: Held) -> str | None:
        """Return the hash of what was filed, and then brought back; None where the journal no longer has it."""
        if held.filing_id is None:
            return None
        rows = self._journal.history(Wanted(ids=[held.filing_id], states=tuple(State)))
        return rows[0].sha256 if rows else None


def _device_at(folder: Path) -> int | None:
    """Return the device of a folder, or of what is there of the way to it."""
    for path in (folder, *folder.parents):
        with suppress(OSError):
            return path.stat().st_dev
    return None


def _is_as_exact(held: int | None, other: int | None) -> bool:
    return held is not None and (other is None or held <= other)


def _may_be_rounded(now: int, then: int) -> bool:
    return 0 < then - now < _ROUNDED_BY and now % _ROUNDED_TO == 0
