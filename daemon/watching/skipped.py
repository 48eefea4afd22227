"""Count the files that a walk skips because of their names, although they may be pictures."""

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
from models.files.image_names import is_image_name, is_raw_name
from models.files.leftovers import Leftovers, is_leftover, is_leftover_image, pictures_in
from models.text.language import tr, trn
from models.text.printable import shown

_MOST_EXAMPLES = 3
_MOST_NOT_ENTERED = 100

_MOST_COUNTED = 10_000  # folders in `LeftoverPictures`


@dataclass
class Skipped:
    """Number of files in a folder that are skipped because of their names, and a few examples.

    Files with a temporary name and sidecars are not counted.
    """

    folder: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    not_files: int = 0  # links, devices and the like with the name of an image
    unreadable: int = 0  # folders
    raw_files: int = 0  # that nothing installed can read
    leftovers: Leftovers = field(default_factory=Leftovers)  # files of the NAS or of the system
    recursive: bool = True
    known: Collection[str] = ()  # folders that are watched anyway: links to them are not reported
    #: A sentence for each folder of another file system, link to a folder, and class folder that belongs elsewhere.
    not_entered: list[str] = field(default_factory=list)

    def meet_mount(self, folder: str) -> None:
        """Add a folder that is on another file system."""
        self._add_not_entered(
            tr(
                "{folder} is on another file system, and is not looked into: cross_mounts = true files what is in it",
                folder=folder,
            )
        )

    def meet_marked(self, folder: str, outputs: Sequence[str]) -> None:
        """Add a class folder with pictures, unless it is in an output of this daemon.

        A person may miss these pictures, or another daemon may have filed them there: only their owner can tell.
        """
        if not is_below(folder, outputs) and pictures_in(folder):
            self._add_not_entered(
                tr(
                    "{folder} is a folder that images were filed into, and is not looked into: to have those "
                    "in it filed once more, delete the hidden file {marker} in it",
                    folder=folder,
                    marker=MARKER,
                )
            )

    def meet_leftover(self, folder: str) -> None:
        """Add a folder of the NAS or of the system."""
        self.leftovers.count_folder(pictures_in(folder), folder.rpartition("/")[2])

    def _meet_link(self, entry: os.DirEntry[str]) -> None:
        target = os.path.realpath(entry.path)
        if not self.recursive or not entry.is_dir() or is_below(target, self.known):
            return
        self._add_not_entered(
            tr(
                "{name} is a link to a folder, and is not followed: for what is in it, add --watch {where}",
                name=entry.path,
                where=target,
            )
        )

    def _add_not_entered(self, sentence: str) -> None:
        if len(self.not_entered) < _MOST_NOT_ENTERED and sentence not in self.not_entered:
            self.not_entered.append(sentence)

    def meet(self, entry: os.DirEntry[str]) -> None:
        """Add a name that is no folder and not the name of an image."""
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
        if is_raw_name(entry.name):
            self.raw_files += 1
            return
        self.count += 1
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(entry.name)

    @property
    def about_raw_files(self) -> str:
        """Say how the raw files that stay can be filed; "" if there are none."""
        if not self.raw_files:
            return ""
        return trn(
            "1 raw file in {folder} stays: to have it filed, install rawpy (pip install '.[raw]') and start again",
            "{count} raw files in {folder} stay: to have them filed, install rawpy (pip install '.[raw]') and "
            "start again",
            self.raw_files,
            folder=self.folder,
        )

    def __str__(self) -> str:
        return trn(
            "1 other file in {folder} is not looked at: its name does not end like those of images ({names})",
            "{count} other files in {folder} are not looked at: their names do not end like those of images ({names})",
            self.count,
            folder=self.folder,
            names=", ".join(self.examples) + (", …" if self.count > len(self.examples) else ""),
        )


class SkippedReporter:
    """Logs what the walks skip: once, and again each time that the number has doubled.

    So a folder that gets such a file every minute does not fill the log.
    """

    def __init__(self) -> None:
        self._logged: dict[str, int] = {}
        self._leftovers_logged: dict[str, int] = {}
        self._told_of_raw_files: set[str] = set()

    def __call__(self, skipped: Skipped) -> None:
        """Report the result of a whole walk of one inbox."""
        logged = self._logged.get(skipped.folder, 0)
        if skipped.count >= max(2 * logged, 1):
            logger.info("{}", skipped)
            self._logged[skipped.folder] = skipped.count
        elif not skipped.count:
            self._logged.pop(skipped.folder, None)
        if skipped.raw_files and skipped.folder not in self._told_of_raw_files:
            logger.warning("{}", skipped.about_raw_files)
            self._told_of_raw_files.add(skipped.folder)
        left = skipped.leftovers.pictures
        if left >= max(2 * self._leftovers_logged.get(skipped.folder, 0), 1):
            logger.info("{}: {}", shown(skipped.folder), skipped.leftovers)
            self._leftovers_logged[skipped.folder] = left


def survey(
    folder: Path,
    *,
    recursive: bool,
    excluded: Collection[Path],
    outputs: Sequence[Path] = (),
    cross_mounts: bool = False,
) -> Skipped:
    """Walk an inbox and return what is skipped; the ``excluded`` folders inside are not part of it.

    ``outputs``: where class folders belong.
    """
    root, left_out = str(folder), frozenset(map(str, excluded))
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
        not_a_file=lambda *_: None,
        other=passed.meet,
        leftover=passed.meet_leftover,
    ):
        pass
    return passed


class LeftoverPictures:
    """Numbers of pictures in folders of a system or program, counted once and not at every walk."""

    def __init__(self) -> None:
        self._pictures: dict[str, int] = {}

    def pictures_in(self, folder: str) -> int:
        """Count the pictures in a folder, or return the number counted before."""
        if folder not in self._pictures:
            if len(self._pictures) >= _MOST_COUNTED:
                self._pictures.clear()
            self._pictures[folder] = pictures_in(folder)
        return self._pictures[folder]
