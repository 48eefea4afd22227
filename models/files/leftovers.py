"""Recognise what a NAS, a system or a program leaves in folders: thumbnails, recycle bins, snapshots, photo libraries.

Their images are neither filed nor learned from: a thumbnail is only a copy, the owner of a recycle bin has thrown its
images away and does not want them back, and a photo library breaks when files are removed from it.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass, field

from models.files.image_names import is_image_name
from models.text.language import tr
from models.text.printable import shown

#: Names of folders and files in lower case, including hidden ones, for commands that read hidden files.
_NAMES = frozenset({
    # Synology
    "@eadir", "#recycle", "#snapshot", "@tmp", "@sharebin", "@sharesnap", "@database", "#syncversion",
    "@img_bkp_cache", "@cloudsync", "@appstore", "@appconf", "@appdata", "@apphome", "@appshare", "@apptemp",
    "@autoupdate", "@docker", "@downloadstation", "@quarantine", "@sharingfolder", "@upload_tmp", "@userpreference",
    # QNAP
    "@recycle", "@recently-snapshot", ".@__thumb", "@__thumb", "@__qini", ".streams", ".@upload_cache", "@transcode",
    # other boxes, Samba and file systems
    ".recycle", "#recycled", ".snapshot", ".snapshots", "~snapshot", ".zfs", "lost+found", ".appledouble", ".appledb",
    "_nas_recycle_raid", "nas_prog", "lost.dir", ".wdmc", ".twonkymedia",
    # Windows
    "$recycle.bin", "recycler", "system volume information", "$extend", "thumbs.db", "ehthumbs.db", "desktop.ini",
    "$windows.~bt", "$windows.~ws", "$winreagent", "$sysreset", "$getcurrent", "config.msi", "msocache",
    # macOS
    "__macosx", ".spotlight-v100", ".fseventsd", ".trashes", ".temporaryitems", ".documentrevisions-v100", ".ds_store",
    "network trash folder", "temporary items", "icon\r",
    # cameras, desktops and programs
    "thmbnl", ".trash", ".thumbnails", ".dtrash", ".picasaoriginals", ".stversions", ".stfolder", ".stignore", ".sync",
    ".dropbox.cache", "[originals]", "files_trashbin", "files_versions", "pwg_representative", "_vti_cnf",
})  # fmt: skip
#: Bins with a number or the name of a volume or user, snapshots named by their time, what a file system check found,
#: resource forks of macOS, and folders that programs show as one file.
_PATTERNS = re.compile(
    r"network recycle bin( \d+)?|recycle bin - .+|\.trash-\d+|@syno.+|@gmt-[\d.]+-[\d.]+|appdata_oc[0-9a-z]+"
    r"|found\.\d{3}|\._.+"
    r"|.+\.(photos?library|migratedphotolibrary|aplibrary|lrdata|lrlibrary|lrcat-data|cocatalog)"
    r"|.+\.(backupdb|sparsebundle|backupbundle|imovielibrary|fcpbundle|tvlibrary)",
    re.DOTALL,
)
#: Names of bins and caches that could also be the names of classes.
_WORDS = frozenset({
    "recycle", "recycled", "recycle bin", "recycle_bin", "recyclebin", "trash", "trashbox", "trashcan", "휴지통",
    "captureone",
})  # fmt: skip
#: Images that a program made for itself, or has not finished writing.
_FILES = re.compile(
    r"(?-i:\$[IR][0-9A-Z]{5,6})\..+|syno(photo|file|video)_.+|albumart(small|_.+)\..+|folder\.(jpe?g|png)"
    r"|~syncthing~.+|~wr[a-z]\d{4}\..+|~tmp\d*\..+|.+\.(part|partial|filepart|crdownload|tmp)\.[^.]+",
    re.DOTALL | re.IGNORECASE,
)
#: Counting pictures in a folder stops after this many names.
_MOST_NAMES = 10_000
_MOST_EXAMPLES = 3


def is_leftover(name: str) -> bool:
    """Return whether a name, in upper or lower case, can only be that of a leftover file or folder."""
    lowered = name.lower()
    return lowered in _NAMES or _PATTERNS.fullmatch(lowered) is not None


def is_bin(name: str) -> bool:
    """Return whether a folder has a name that programs give to bins and caches, but that may also be a class.

    In an inbox it is left alone, so that deleted images do not come back; in a data set it is a class.
    """
    return unicodedata.normalize("NFC", name).lower() in _WORDS


def is_left_alone(name: str) -> bool:
    """Return whether a folder of this name is left alone in an inbox."""
    return is_leftover(name) or is_bin(name)


def is_leftover_image(name: str) -> bool:
    """Return whether an image file of this name is a program's own: a thumbnail, a deleted or an unfinished file."""
    return _FILES.fullmatch(name) is not None


def is_below_leftover(path: str, root: str) -> bool:
    """Return whether a path below ``root`` is, or is inside, a folder that is left alone in an inbox."""
    return any(map(is_left_alone, path[len(root) :].split("/")))


def pictures_in(folder: str) -> int:
    """Count the files with names of images in a folder and below it, among the first `_MOST_NAMES` names."""
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
    """The number of pictures that were left alone and of the folders that held them, with the names of a few."""

    folders: int = 0
    pictures: int = 0
    names: list[str] = field(default_factory=list)

    def count_folder(self, pictures: int, name: str) -> None:
        """Count a folder of this name and its pictures; a folder without any is not counted."""
        if pictures:
            self.folders += 1
            self.pictures += pictures
            self._remember(name)

    def count_image(self, name: str) -> None:
        """Count an image file of this name."""
        self.pictures += 1
        self._remember(name)

    def _remember(self, name: str) -> None:
        if len(self.names) < _MOST_EXAMPLES and name not in self.names:
            self.names.append(name)

    def __str__(self) -> str:
        return tr(
            "left alone: thumbnails, recycle bins, photo libraries and the like of a NAS, the system or a "
            "program (images: {pictures}, folders: {folders}; for example {names})",
            pictures=self.pictures,
            folders=self.folders,
            names=", ".join(map(shown, self.names)),
        )
