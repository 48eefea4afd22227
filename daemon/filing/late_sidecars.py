"""Send sidecars that arrive after their image was filed after it: search the inboxes, a little at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loguru import logger

from daemon.files.candidates import is_temporary_name
from daemon.files.marker import is_marked
from daemon.files.roots import Roots
from daemon.files.sidecar_names import images_by_exactness, owners
from daemon.files.source import Identity
from daemon.filing.folders import Folders, Output
from daemon.filing.held import HeldImages
from daemon.filing.identity import is_filed_image
from daemon.filing.rounds import Rounds
from daemon.filing.sidecars import complain, follower, send
from daemon.filing.status import Status
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.records import Filing
from models.leftovers import is_left_alone
from models.text.language import tr
from models.text.printable import shown

#: How long after an image was filed a sidecar may still follow it: cameras reuse file names.
LATEST = timedelta(days=1)
#: Pause between two searches: seconds, or this multiple of the duration of a search, if longer.
PAUSE, TIMES = 60.0, 10


class LateSidecars:
    """Sends late sidecars after their images; `work` continues where it stopped the last time."""

    def __init__(
        self,
        inboxes: Sequence[Path],
        output: Path,
        journal: Journal,
        *,
        recursive: bool,
        held: HeldImages | None = None,
    ) -> None:
        self._inboxes = inboxes
        self._output = output
        self._journal = journal
        self._recursive = recursive
        self._held = held
        self._rounds = Rounds(self._search, pause=PAUSE, times=TIMES)

    def work(self, seconds: float) -> bool:
        """Search for at most ``seconds``, and not at all in the pause; return whether there is more to search."""
        return self._rounds.work(seconds)

    def _search(self) -> Iterator[None]:
        """Search all inboxes once, one name a step."""
        pending = [str(inbox) for inbox in self._inboxes]
        while pending:
            folder = pending.pop()
            for entry in _entries(folder):
                if entry is None:
                    yield
                elif _is_folder(entry):
                    if self._recursive and not (
                        is_temporary_name(entry.name) or is_left_alone(entry.name) or self._is_filed_into(entry.path)
                    ):
                        pending.append(entry.path)
                elif owners(entry.name):
                    self._join(Path(entry.path))
                yield

    def _is_filed_into(self, folder: str) -> bool:
        return folder == str(self._output) or is_marked(folder)

    def _join(self, sidecar: Path) -> None:
        try:
            if self._journal.filed_before(Identity.from_stat(sidecar.lstat()), sidecar, None):
                return  # answers quickly where thousands have been copied and stay
            image = self._image(sidecar)
            if self._held is not None and image is not None and self._held.keeps(sidecar, image.source.name):
                return
            if image is not None and image.destination is not None:
                self._follow(sidecar, image)
        except (OSError, JournalBusy) as error:
            logger.debug("the sidecar {} is looked at again later: {}", shown(str(sidecar)), error)

    def _image(self, sidecar: Path) -> Filing | None:
        """Find the newest of the images that the sidecar names most exactly; None while one of them is in the inbox."""
        groups = images_by_exactness(str(sidecar))
        since = datetime.now(UTC) - LATEST
        for group in groups:
            image = self._journal.last_filed_from([*map(Path, group)], since)
            if image is not None and image.action != "move":
                return image
            if any(map(os.path.lexists, group)):
                return None  # it goes with that one, then
            if image is not None:
                return image
        return None

    def _follow(self, sidecar: Path, image: Filing) -> None:
        assert image.destination is not None
        with Folders(Output(self._output, Roots(self._inboxes))) as folders:
            source, target = folders.entry(image.source), folders.entry(image.destination)
            if not is_filed_image(target, image):
                return  # another file is there now
            transfer = follower(image, source, target, sidecar.name)
            for sent in send([transfer] if transfer else [], self._journal):
                if sent.status is Status.FILED:
                    logger.info(
                        tr(
                            "{name} follows its image to {destination}",
                            name=sidecar.name,
                            destination=sent.row.destination,
                        )
                    )
                else:
                    complain(sent)


def _entries(folder: str) -> Iterator[os.DirEntry[str] | None]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        yield None  # the watcher reports it


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
