"""What a walk passes over because of its name, though somebody may have meant it as a picture."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from loguru import logger

from daemon.marker import is_marked
from daemon.report import shown
from daemon.settle import is_unfinished
from daemon.sidecarnames import follows
from daemon.walk import walk
from models.leftovers import Leftovers, is_leftover, pictures_in

_MOST_EXAMPLES = 3


@dataclass
class PassedOver:
    """How many files of a folder are not looked at, and the names of a few; no more is kept, however many there are.

    Not counted are hidden files, those their writer has not finished, and sidecars. ``odd`` is how many things have
    the name of an image and are no files, ``closed`` how many folders could not be read, ``leftovers`` what is of the
    NAS or of the system.
    """

    folder: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    odd: int = 0
    closed: int = 0
    leftovers: Leftovers = field(default_factory=Leftovers)

    def meet(self, entry: os.DirEntry[str]) -> None:
        """A walk came by something that is no folder and has not the name of an image."""
        if (
            is_unfinished(entry.name)
            or is_leftover(entry.name)
            or not entry.is_file(follow_symlinks=False)
            or follows(entry.path)
        ):
            return
        self.count += 1
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(entry.name)

    def __str__(self) -> str:
        which = "1 other file" if self.count == 1 else f"{self.count} other files"
        why = "is not looked at: its name does" if self.count == 1 else "are not looked at: their names do"
        names = ", ".join(map(shown, self.examples)) + (", …" if self.count > len(self.examples) else "")
        return f"{which} in {shown(self.folder)} {why} not end like those of pictures ({names})"


class Teller:
    """Says what the walks of a daemon pass over: once, and again whenever it has become twice as much.

    So a folder that is given one such file a minute does not fill the log.
    """

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        self._left_alone: dict[str, int] = {}

    def __call__(self, passed: PassedOver) -> None:
        """A whole walk of a folder has ended."""
        told = self._told.get(passed.folder, 0)
        if passed.count >= max(2 * told, 1):
            logger.info("{}", passed)
            self._told[passed.folder] = passed.count
        elif not passed.count:
            self._told.pop(passed.folder, None)
        left = passed.leftovers.pictures
        if left >= max(2 * self._left_alone.get(passed.folder, 0), 1):
            logger.info("{}: {}", shown(passed.folder), passed.leftovers)
            self._left_alone[passed.folder] = left


def survey(folder: Path, *, recursive: bool, pruned: Collection[Path]) -> PassedOver:
    """What a walk of an inbox would pass over; the ``pruned`` folders inside are not part of it."""
    root, left_out = str(folder), frozenset(map(str, pruned))
    passed = PassedOver(root)
    for _ in walk(
        [root],
        recursive=recursive,
        enter=lambda inside: inside == root or not (inside in left_out or is_marked(inside)),
        failed=lambda *_: None,
        odd=lambda *_: None,
        other=passed.meet,
        leftover=lambda inside: passed.leftovers.meet(pictures_in(inside)),
    ):
        pass
    return passed
