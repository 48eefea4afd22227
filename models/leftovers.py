"""What a NAS or a system leaves in people's folders: thumbnails, recycle bins, snapshots, indexes.

It is nobody's picture to file or to learn from: a thumbnail is a copy of one, and what lies in a recycle bin was thrown
away by its owner, who does not want to see it come back.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from models.images import is_image_name
from models.language import tr

#: Names of folders and files, in small letters; hidden ones are here too, for who looks at hidden files.
_NAMES = frozenset({
    # Synology
    "@eadir", "#recycle", "#snapshot", "@tmp", "@sharebin", "@sharesnap", "@synologydrive", "@database", "#syncversion",
    # QNAP
    "@recycle", "@recently-snapshot", ".@__thumb", "@__thumb", "@__qini", ".streams", ".@upload_cache", "@transcode",
    # other boxes, Samba and file systems
    ".recycle", "#recycled", ".snapshot", ".snapshots", "~snapshot", ".zfs", "lost+found", ".appledouble", ".appledb",
    # Windows
    "$recycle.bin", "recycler", "system volume information", "$extend", "thumbs.db", "ehthumbs.db", "desktop.ini",
    # macOS
    "__macosx", ".spotlight-v100", ".fseventsd", ".trashes", ".temporaryitems", ".documentrevisions-v100", ".ds_store",
    "network trash folder", "temporary items", "icon\r",
    # desktops and programs
    ".trash", ".thumbnails", ".dtrash", ".picasaoriginals", ".stversions", ".stfolder", ".stignore", ".sync",
    ".dropbox.cache",
})  # fmt: skip
#: The bin of each user of a drive; what the check of a file system found; the other half of a file from macOS.
_PATTERNS = re.compile(r"\.trash-\d+|found\.\d{3}|\._.+", re.DOTALL)
#: Of larger folders no more names are read to count their pictures.
_MOST_NAMES = 10_000


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is the system's own, however it is capitalised."""
    small = name.lower()
    return small in _NAMES or _PATTERNS.fullmatch(small) is not None


def is_below_leftover(path: str, root: str) -> bool:
    """Whether a path that lies below ``root`` is, or is inside, what is left alone."""
    return any(map(is_leftover, path[len(root) :].split("/")))


def pictures_in(folder: str) -> int:
    """How many files in a folder, and below it, have names of images; no more than the first names are looked at."""
    count, names, pending = 0, 0, [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    names += 1
                    if names > _MOST_NAMES:
                        return count
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        count += is_image_name(entry.name)
        except OSError:
            continue
    return count


@dataclass
class Leftovers:
    """How many such folders were met, and how many pictures they hold."""

    folders: int = 0
    pictures: int = 0

    def meet(self, pictures: int) -> None:
        """Count a folder that holds so many pictures; one without any is not worth a word."""
        if pictures:
            self.folders += 1
            self.pictures += pictures

    def __str__(self) -> str:
        return tr(
            "left alone: thumbnails, recycle bins and the like of a NAS or the system (pictures: {pictures}, "
            "folders: {folders})",
            pictures=self.pictures,
            folders=self.folders,
        )
