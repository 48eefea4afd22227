"""Walk a folder tree of any size as a stream: one folder open at a time, one name a step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from daemon.files.candidates import is_candidate, is_temporary_name
from daemon.files.lone_raw import is_lone_raw
from daemon.files.marker import is_marked
from daemon.files.renaming import close
from daemon.files.roots import Roots
from models.files.leftovers import is_bin, is_leftover
from models.text.language import mark, tr

_LINK = mark("it is a symbolic link")
_DEVICE = mark("it is a pipe, a socket or a device")


def walk(
    folders: Iterable[str],
    *,
    recursive: bool,
    enter: Callable[[str], bool],
    failed: Callable[[str, OSError], None],
    not_a_file: Callable[[str, str], None],
    other: Callable[[os.DirEntry[str]], None] | None = None,
    leftover: Callable[[str], None] | None = None,
    roots: Roots | None = None,
) -> Iterator[os.DirEntry[str] | None]:
    """Yield each candidate file (by its name and kind) below ``folders``, and None for every other name.

    Memory grows with the number of folders, not of files. Symbolic links are not followed, except in the paths of
    ``roots`` (default: ``folders``). Close the iterator when it is not read to its end. Called for what the walk meets:

    - ``enter`` before a folder is read; if it returns False, the folder is skipped;
    - ``failed`` with a folder that could not be read to its end, and the error; the walk goes on with the next one;
    - ``not_a_file`` with the path of a link, a device and the like that has the name of an image, and what it is;
    - ``other`` with everything else that is no folder and not a candidate;
    - ``leftover`` with a folder of the NAS or of the system, which is never entered.
    """
    pending = list(folders)
    roots = roots or Roots(pending)
    while pending:
        folder = pending.pop()
        try:
            if not enter(folder):
                continue
            # A link in the place of a folder, or of one above it, is found here. One that comes a moment later leads to
            # names at most: what they stand for is looked at, opened and moved below the root only.
            close(roots.open_folder(folder))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if recursive and _is_left_alone(entry):
                            if leftover is not None:
                                leftover(entry.path)
                        elif recursive and not is_temporary_name(entry.name):
                            pending.append(entry.path)
                        yield None
                    elif not is_candidate(entry.name) and not is_lone_raw(entry.path):
                        if other is not None:
                            other(entry)
                        yield None
                    elif entry.is_file(follow_symlinks=False):
                        yield entry
                    else:
                        not_a_file(entry.path, tr(_LINK) if entry.is_symlink() else tr(_DEVICE))
                        yield None
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed meanwhile
        except OSError as error:
            failed(folder, error)


def _is_left_alone(folder: os.DirEntry[str]) -> bool:
    """Whether a folder is one of the NAS or the system, and not a class folder of the same name."""
    return is_leftover(folder.name) or (is_bin(folder.name) and not is_marked(folder.path))
