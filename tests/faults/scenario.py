"""The batch that is disturbed at every point, and what must be true of it afterwards."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from daemon.files.source import SourceUnreadable
from daemon.filing.duplicates import DuplicatePolicy, Duplicates
from daemon.filing.filer import Action
from daemon.filing.late_sidecars import LateSidecars
from daemon.filing.recovery import recover
from tests.filing_desk import Desk, images, make_desk

#: A name that is taken, one that is no text, one for quarantine, one of more than a block.
_IMAGES = ("cat.jpg", os.fsdecode(b"\xff\n.jpg"), "torn.jpg", "large.jpg")
#: The raw data of the first, the film of the second, the notes beside the last.
_SIDECARS = ("cat.dng", os.fsdecode(b"\xff\n.mov"), "large.xmp", "large.jpg.json")
_NAMES = _IMAGES + _SIDECARS
#: Has the content of the large image, and comes after it.
_DUPLICATE = "more.jpg"


@dataclass
class Scenario:
    """Images on their way from an inbox to an output, on one file system or on two; each run works at a new desk."""

    near: Path
    far: Path | None
    action: Action = "move"
    #: Of the class; one inside another is made for a part of the batch.
    folder: str = "cat"
    #: With another policy than "keep" the batch has a duplicate, too.
    duplicates: DuplicatePolicy = "keep"
    desk: Desk = field(init=False)

    def prepare(self) -> None:
        """A new desk, with one image filed, four waiting, and their sidecars."""
        near = Path(tempfile.mkdtemp(dir=self.near))
        self.desk = make_desk(near, None if self.far is None else Path(tempfile.mkdtemp(dir=self.far)))
        self.desk.file_one(self.desk.put("cat.jpg", b"filed before"), self.folder, action="move")
        for name in self._names:
            path = self.desk.put(name, _content(name))
            os.utime(path, (1_000_000_000, 1_000_000_000))

    def work(self) -> None:
        """What the program does with a batch."""
        decisions = []
        for path in images(self.desk.inbox):
            if path.suffix != ".jpg":
                continue
            torn = path.name == "torn.jpg"
            is_quarantined = torn and self.action == "move"
            folder = "quarantine/truncated" if is_quarantined else self._folder_of(path.name)
            with suppress(SourceUnreadable):
                decisions.append(self.desk.decide(path, folder, reason="truncated" if is_quarantined else None))
        self.desk.file(decisions, action=self.action, duplicates=Duplicates(self.duplicates))

    def recover(self) -> None:
        """What the program does when it starts again."""
        journal = self.desk.journal()
        recover(journal)
        journal.close()

    def check_nothing_lost(self) -> None:
        """True at every instant, also right after a kill."""
        missing = self._expected() - self.desk.contents()
        assert not missing, f"lost: {missing}"

    def check_after_recovery(self) -> None:
        """Every image in exactly one place, under a name that people see, and no question left open."""
        contents = self.desk.contents()
        if self.action == "move":
            assert contents == self._expected()
        else:
            originals = Counter(path.read_bytes() for path in images(self.desk.inbox)) - Counter([b"filed before"])
            assert originals == Counter(_content(name) for name in self._names)
            assert contents - originals <= originals + Counter([b"filed before"])
        hidden = [path for root in (self.desk.inbox, self.desk.output) for path in images(root) if path.name[0] == "."]
        assert hidden == []
        journal = self.desk.journal()
        assert journal.interrupted() == []
        journal.close()

    def check_to_the_end(self) -> None:
        """What is left in the inbox can be filed, and then all is."""
        self.work()
        journal = self.desk.journal()
        LateSidecars([self.desk.inbox], self.desk.output, journal, recursive=True).work(60.0)
        journal.close()
        self.check_after_recovery()
        filed = Counter(self.desk.filed().values())
        is_left = self.duplicates == "leave"
        assert filed == Counter([b"filed before", *(_content(name) for name in (_NAMES if is_left else self._names))])
        if self.duplicates == "folder":
            assert self.desk.filed()[f"duplicates/{_DUPLICATE}"] == _content(_DUPLICATE)
        elif is_left and self.action == "move":
            assert images(self.desk.inbox) == [self.desk.inbox / _DUPLICATE]
        assert self.desk.filed()[f"{self.folder}/cat.jpg"] == b"filed before"
        assert self.desk.filed()[f"{self.folder}/cat_2.dng"] == _content("cat.dng"), (
            "it goes with its image, and by its name"
        )

    def _folder_of(self, name: str) -> str:
        """Return the folder of an image's class: a new one for the large image, where classes lie in folders."""
        return f"{self.folder}s/wild/lion" if "/" in self.folder and name == "large.jpg" else self.folder

    def _expected(self) -> Counter[bytes]:
        return Counter([b"filed before", *(_content(name) for name in self._names)])

    @property
    def _names(self) -> tuple[str, ...]:
        return _NAMES if self.duplicates == "keep" else (*_NAMES, _DUPLICATE)


def _content(name: str) -> bytes:
    if name == _DUPLICATE:
        name = "large.jpg"
    return os.fsencode(name) * (5000 if name == "large.jpg" else 1)
