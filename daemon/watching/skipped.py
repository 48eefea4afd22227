"""Count what a walk skips because of its name, although it may be meant as a picture."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loguru import logger

from daemon.files.candidates import is_temporary_name
from daemon.files.marker import MARKER, is_below, is_marked
from daemon.files.sidecar_names import follows
from daemon.files.walk import walk
from models.image_names import is_image_name
from models.leftovers import Leftovers, is_leftover, is_leftover_image, pictures_in
from models.text.language import tr, trn
from models.text.printable import shown

_MOST_EXAMPLES = 3
_MOST_APART = 100

_MOST_LEFT_ALONE = 10_000  # folders whose pictures are remembered


@dataclass
class Skipped:
    """How many files of a folder are not looked at, and the names of a few; no more is kept, however many there are.

    Not counted are files with a temporary name, and sidecars. ``odd`` is how many things have
    the name of an image and are no files, ``closed`` how many folders could not be read, ``leftovers`` what is of the
    NAS or of the system, ``apart`` a sentence for each folder of another file system, for each link to a folder but
    those to what is ``known``, and for each class folder that was brought there.
    """

    folder: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    odd: int = 0
    closed: int = 0
    leftovers: Leftovers = field(default_factory=Leftovers)
    recursive: bool = True
    known: Collection[str] = ()
    apart: list[str] = field(default_factory=list)

    def meet_mount(self, folder: str) -> None:
        """A walk came by a folder that is on another file system, and is not entered."""
        self._set_apart(
            tr("{folder} is on another file system, and stays: cross_mounts = true files what is in it", folder=folder)
        )

    def meet_marked(self, folder: str, outputs: Sequence[str]) -> None:
        """A walk came by a class folder. Where it is of no output of ours, its pictures are missed by somebody.

        They may also be those of another daemon, so that nobody but their owner can say that they are to be filed.
        """
        if not is_below(folder, outputs) and pictures_in(folder):
            self._set_apart(
                tr(
                    "{folder} is a folder that pictures were filed into, and stays: to have those in it filed once "
                    "more, delete the hidden file {marker} in it",
                    folder=folder,
                    marker=MARKER,
                )
            )

    def meet_leftover(self, folder: str) -> None:
        """A walk came by a folder of the NAS or of the system."""
        self.leftovers.count_folder(pictures_in(folder), folder.rpartition("/")[2])

    def _meet_link(self, entry: os.DirEntry[str]) -> None:
        target = os.path.realpath(entry.path)
        if not self.recursive or not entry.is_dir() or is_below(target, self.known):
            return
        self._set_apart(
            tr(
                "{name} is a link to a folder, and stays: for what is in it, add --watch {where}",
                name=entry.path,
                where=target,
            )
        )

    def _set_apart(self, sentence: str) -> None:
        if len(self.apart) < _MOST_APART and sentence not in self.apart:
            self.apart.append(sentence)

    def meet(self, entry: os.DirEntry[str]) -> None:
        """A walk came by something that is no folder and has not the name of an image."""
        if entry.is_symlink() and not is_temporary_name(entry.name):
            self._meet_link(entry)
        if (
            is_temporary_name(entry.name)
            or is_leftover(entry.name)
            or not entry.is_file(follow_symlinks=False)
            or follows(entry.path)
        ):
            return
        if is_image_name(entry.name) and is_leftover_image(entry.name):
            self.leftovers.count_image(entry.name)
            return
        self.count += 1
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(entry.name)

    def __str__(self) -> str:
        return trn(
            "1 other file in {folder} is not looked at: its name does not end like those of pictures ({names})",
            "{count} other files in {folder} are not looked at: their names do not end like those of pictures "
            "({names})",
            self.count,
            folder=self.folder,
            names=", ".join(self.examples) + (", …" if self.count > len(self.examples) else ""),
        )


class SkippedReporter:
    """Logs what the walks skip: once, and again whenever the number has doubled.

    So a folder that is given one such file a minute does not fill the log.
    """

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        self._left_alone: dict[str, int] = {}

    def __call__(self, passed: Skipped) -> None:
        """Report the result of a whole walk of one inbox."""
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


def survey(
    folder: Path, *, recursive: bool, pruned: Collection[Path], outputs: Sequence[Path] = (), cross_mounts: bool = False
) -> Skipped:
    """What a walk of an inbox would pass over; the ``pruned`` folders inside are not part of it.

    ``outputs``: where class folders belong.
    """
    root, left_out = str(folder), frozenset(map(str, pruned))
    passed = Skipped(root, recursive=recursive, known=[root, *left_out])
    device = folder.stat().st_dev

    def enter(inside: str) -> bool:
        if inside == root:
            return True
        if inside in left_out:
            return False
        if is_marked(inside):
            passed.meet_marked(inside, [*map(str, outputs)])
            return False
        if cross_mounts or os.lstat(inside).st_dev == device:
            return True
        passed.meet_mount(inside)
        return False

    for _ in walk(
        [root],
        recursive=recursive,
        enter=enter,
        failed=lambda *_: None,
        odd=lambda *_: None,
        other=passed.meet,
        leftover=passed.meet_leftover,
    ):
        pass
    return passed


class LeftAlone:
    """How many pictures each folder of a system or program holds: counted once, and not at every walk."""

    def __init__(self) -> None:
        self._pictures: dict[str, int] = {}

    def pictures_in(self, folder: str) -> int:
        """Count the pictures in a folder that is left alone."""
        if folder not in self._pictures:
            if len(self._pictures) >= _MOST_LEFT_ALONE:
                self._pictures.clear()
            self._pictures[folder] = pictures_in(folder)
        return self._pictures[folder]
