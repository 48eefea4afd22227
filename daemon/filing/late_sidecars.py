"""Send sidecars that arrive after their image was filed after it: search the inboxes, a little at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from loguru import logger

from daemon.files.candidates import is_temporary_name
from daemon.files.marker import is_marked
from daemon.files.roots import NO_FOLDER, Roots
from daemon.files.sidecar_names import images_by_exactness, owners, renamed
from daemon.files.source import Identity
from daemon.filing.corrections import Corrections
from daemon.filing.folders import Folders, Output
from daemon.filing.held import HeldImages
from daemon.filing.identity import is_filed_image, took_over_from
from daemon.filing.rounds import Rounds
from daemon.filing.sidecars import complain, follower, send
from daemon.filing.status import Status
from daemon.filing.tagging import giving_way
from daemon.filing.transfer import Transfer
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.labels import WantedLabels
from daemon.journal.records import Filing, State
from models.files.leftovers import is_left_alone
from models.text.language import tr
from models.text.printable import shown

#: How long after an image was filed a sidecar may still follow it: cameras reuse file names.
LATEST = timedelta(days=1)
#: Pause between two searches: seconds, or this multiple of the duration of a search, if longer.
PAUSE, TIMES = 60.0, 10
#: Seconds until the class folders are read once more for the image of a sidecar.
AGAIN = 3600.0
#: Most moves of an image that are followed.
_MOST_MOVES = 100


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
        other_outputs: Sequence[Path] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``other_outputs``: the outputs of classes that have their own."""
        self._inboxes = inboxes
        self._output, self._other_outputs = output, other_outputs
        self._journal = journal
        self._recursive = recursive
        self._held = held
        self._rounds = Rounds(self._search, pause=PAUSE, times=TIMES, clock=clock)
        self._clock = clock
        #: Filings of images that were not found, by their sidecars, and when these were searched for everywhere.
        self._missing: dict[Path, list[Filing]] = {}
        self._searched: dict[Path, float] = {}

    def work(self, seconds: float) -> bool:
        """Search for at most ``seconds``, and not at all in the pause; return whether there is more to search."""
        return self._rounds.work(seconds)

    def _search(self) -> Iterator[None]:
        """Search all inboxes once, one name a step, and then for images that people have moved."""
        self._missing.clear()
        yield from self._search_inboxes()
        yield from self._search_output()

    def _search_inboxes(self) -> Iterator[None]:
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

    def _search_output(self) -> Iterator[None]:
        """Find images that are where no filing and no label says, by reading the class folders, which takes long."""
        now = self._clock()
        self._searched = {path: at for path, at in self._searched.items() if now < at + AGAIN and path in self._missing}
        missing = {path: filings for path, filings in self._missing.items() if path not in self._searched}
        if not missing:
            return
        corrections = Corrections(self._output, other_outputs=self._other_outputs)
        yield from corrections.read()
        for sidecar, filings in missing.items():
            self._searched[sidecar] = now
            with _trying(sidecar):
                if (path := corrections.find_edited(filings[-1])) is not None:
                    self._send(sidecar, filings, path)
            yield

    def _is_filed_into(self, folder: str) -> bool:
        return folder in map(str, (self._output, *self._other_outputs)) or is_marked(folder)

    def _join(self, sidecar: Path) -> None:
        with _trying(sidecar):
            if self._journal.filed_before(Identity.from_stat(sidecar.lstat()), sidecar, None):
                return  # answers quickly where thousands have been copied and stay
            image = self._image(sidecar)
            if image is None or (self._held is not None and self._held.keeps(sidecar, image.source.name)):
                return
            filings = self._moves(image)
            if not self._follow(sidecar, filings):
                self._missing[sidecar] = filings

    def _image(self, sidecar: Path) -> Filing | None:
        """Find the newest of the images that the sidecar names most exactly; None while one of them is in the inbox."""
        groups = images_by_exactness(str(sidecar))
        since = datetime.now(UTC) - LATEST
        for group in groups:
            image = self._journal.last_filed_from([*map(Path, group)], since)
            if image is not None and image.action == "tag":
                return None  # both stay where they are
            if image is not None and image.action != "move":
                return image
            if any(map(os.path.lexists, group)):
                return None  # it goes with that one, then
            if image is not None:
                return image
        return None

    def _moves(self, image: Filing) -> list[Filing]:
        """List the filing of an image and the later ones that took it on, by relabel or resort, oldest first."""
        filings = [image]
        while (place := filings[-1].destination) is not None and len(filings) < _MOST_MOVES:
            later = self._journal.last_filed_from([place], filings[-1].time)
            if later is None or later.action != "move" or not took_over_from(filings[-1], later):
                break
            filings.append(later)
        return filings

    def _follow(self, sidecar: Path, filings: Sequence[Filing]) -> bool:
        """Send a sidecar after its image; returns whether that lies where it was filed last, or labelled since."""
        return any(self._send(sidecar, filings, place) for place in self._places(filings))

    def _places(self, filings: Sequence[Filing]) -> Iterator[Path]:
        if (filed := filings[-1].destination) is not None:
            yield filed  # mostly it lies there, and no label is read
        labels = self._journal.labels(WantedLabels(filings=[row.id for row in filings if row.id], every=True))
        yield from dict.fromkeys(label.path for label in labels if label.path != filed)

    def _send(self, sidecar: Path, filings: Sequence[Filing], place: Path) -> bool:
        """Send a sidecar to a place if its image is there; returns whether that is so."""
        first = filings[0]
        with Folders(Output(self._output, Roots([self._output, *self._inboxes]))) as folders:
            try:
                source, target = folders.entry(first.source), folders.entry(place)
                if not is_filed_image(target, filings[-1]):
                    return False  # another file is there now
            except NO_FOLDER:
                return False
            image = replace(first, folder=place.parent, filed_name=place.name)
            transfer = follower(image, source, target, sidecar.name)
            if transfer is None:
                return True
            with giving_way(replace(filings[-1], folder=place.parent, filed_name=place.name), transfer, self._journal):
                results = send([transfer], self._journal)
            for sent in results:
                if sent.status is Status.FILED:
                    self._note_moves(sent, filings)
                    logger.info(
                        tr(
                            "{name} follows its image to {destination}",
                            name=sidecar.name,
                            destination=place.parent / sent.target.name,
                        )
                    )
                else:
                    complain(sent)
        return True

    def _note_moves(self, sent: Transfer, filings: Sequence[Filing]) -> None:
        """Note that a sidecar made each move of its image, so that it comes back with that when one is undone."""
        if len(filings) == 1:
            return
        sidecar = sent.row
        identity = Identity.from_stat(sent.target.stat())
        rows = [replace(sidecar, id=None)]
        rows += [
            replace(sidecar, id=None, action="move", identity=identity, copy_ino=None, image_id=later.id)
            for later in filings[1:]
        ]
        name = sidecar.source.name
        for row, image in zip(rows, filings, strict=True):
            assert image.folder is not None
            assert image.filed_name is not None
            name = renamed(name, image.source.name, image.filed_name)
            row.folder, row.filed_name = image.folder, name
        for before, row in pairwise(rows):
            assert before.destination is not None
            row.source = before.destination
        rows[-1].folder, rows[-1].filed_name = sidecar.folder, sidecar.filed_name  # where a person has put the image
        sidecar.state = State.VOID
        self._journal.write([sidecar, *rows])


@contextmanager
def _trying(sidecar: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, JournalBusy) as error:
        logger.debug("the sidecar {} is looked at again later: {}", shown(str(sidecar)), error)


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
