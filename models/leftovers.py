"""What a NAS, a system or a program leaves in people's folders: thumbnails, recycle bins, snapshots, photo libraries.

It is nobody's picture to file or to learn from: a thumbnail is a copy of one, what lies in a recycle bin was thrown
away by its owner, who does not want to see it come back, and a photo library breaks when files are taken out of it.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass, field

from models.images import is_image_name
from models.text.language import tr
from models.text.printable import shown

#: Names of folders and files, in small letters; hidden ones are here too, for who looks at hidden files.
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
#: Bins with a number or the name of a volume or user, snapshots by their time, what the check of a file system found,
#: the other half of a file from macOS, and folders that a program shows as one file.
_PATTERNS = re.compile(
    r"network recycle bin( \d+)?|recycle bin - .+|\.trash-\d+|@syno.+|@gmt-[\d.]+-[\d.]+|appdata_oc[0-9a-z]+"
    r"|found\.\d{3}|\._.+"
    r"|.+\.(photos?library|migratedphotolibrary|aplibrary|lrdata|lrlibrary|lrcat-data|cocatalog)"
    r"|.+\.(backupdb|sparsebundle|backupbundle|imovielibrary|fcpbundle|tvlibrary)",
    re.DOTALL,
)
#: What programs call their bins and caches, and people may call a class.
_WORDS = frozenset({
    "recycle", "recycled", "recycle bin", "recycle_bin", "recyclebin", "trash", "trashbox", "trashcan", "휴지통",
    "captureone",
})  # fmt: skip
#: Images that a program made for itself, or has not written to their end.
_FILES = re.compile(
    r"(?-i:\$[IR][0-9A-Z]{5,6})\..+|syno(photo|file|video)_.+|albumart(small|_.+)\..+|folder\.(jpe?g|png)"
    r"|~syncthing~.+|~wr[a-z]\d{4}\..+|~tmp\d*\..+|.+\.(part|partial|filepart|crdownload|tmp)\.[^.]+",
    re.DOTALL | re.IGNORECASE,
)
#: Of larger folders no more names are read to count their pictures.
_MOST_NAMES = 10_000
_MOST_EXAMPLES = 3


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name cannot be a person's, however it is capitalised."""
    small = name.lower()
    return small in _NAMES or _PATTERNS.fullmatch(small) is not None


def is_bin(name: str) -> bool:
    """Whether a folder has a plain word for a name that is a bin's or a cache's to programs, but may be a class's.

    In an inbox it is left alone, for what was thrown away must not come back; in a data set it is a class.
    """
    return unicodedata.normalize("NFC", name).lower() in _WORDS


def is_left_alone(name: str) -> bool:
    """Whether a folder of this name is left alone in an inbox."""
    return is_leftover(name) or is_bin(name)


def is_leftover_image(name: str) -> bool:
    """Whether a file with the name of an image is a program's own: a thumbnail, a deleted file, half a file."""
    return _FILES.fullmatch(name) is not None


def is_below_leftover(path: str, root: str) -> bool:
    """Whether a path that lies below ``root`` is, or is inside, what is left alone in an inbox."""
    return any(map(is_left_alone, path[len(root) :].split("/")))


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
    """How many pictures were left alone, and in how many folders or how many files beside them; the names of a few."""

    folders: int = 0
    pictures: int = 0
    names: list[str] = field(default_factory=list)

    def meet(self, pictures: int, name: str) -> None:
        """Count a folder of this name that holds so many pictures; one without any is not worth a word."""
        if pictures:
            self.folders += 1
            self.pictures += pictures
            self._remember(name)

    def meet_image(self, name: str) -> None:
        """Count a file with the name of an image."""
        self.pictures += 1
        self._remember(name)

    def _remember(self, name: str) -> None:
        if len(self.names) < _MOST_EXAMPLES and name not in self.names:
            self.names.append(name)

    def __str__(self) -> str:
        return tr(
            "left alone: thumbnails, recycle bins, photo libraries and the like of a NAS, the system or a program "
            "(pictures: {pictures}, folders: {folders}; for example {names})",
            pictures=self.pictures,
            folders=self.folders,
            names=", ".join(map(shown, self.names)),
        )
