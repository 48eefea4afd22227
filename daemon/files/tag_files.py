"""Change the tags in the XMP sidecar of an image: as a whole or not at all, and never through a link.

A sidecar is ``cat.jpg.xmp``, as darktable and digiKam have it, or ``cat.xmp``, as Lightroom does, where that is there
and no other image's. It is written anew under a hidden name, flushed, and exchanged with the one that was read; if
another program has changed that meanwhile, it is left as it is.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from daemon.files import renaming
from daemon.files.copying import begin_to_flush, copy_attributes, create, write_all
from daemon.files.renaming import NOWHERE, CannotMove, FileAt, close
from daemon.files.sidecar_names import namesakes
from daemon.files.source import OPEN_FLAGS, BeingWritten, Identity, SourceChanged
from daemon.files.writers import is_being_written, unlink_closed
from models.files.ownership import hand_over
from models.text.language import tr
from models.xmp import tags
from models.xmp.document import MOST_BYTES, XmpError, too_large
from models.xmp.tags import Tag

_ENDINGS = (".xmp", ".XMP")
#: A name of this many bytes may be too long for its file system, once it has an ending.
_LONG_NAME = 100
_WRITABLE = 0o222
#: What a name stands for that cannot be opened as a file.
_NO_FILE = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV})


@dataclass
class TagChange:
    """A change of one sidecar, from ``before`` (None: there is none) to ``content`` (None: it is deleted).

    ``part`` is its hidden name, to be set before it is written; ``descriptor`` the open file that has it.
    """

    entry: FileAt
    before: Identity | None
    content: bytes | None
    part: FileAt = NOWHERE
    descriptor: int | None = None


def sidecar_names(image: FileAt) -> list[str]:
    """List the names that the sidecar of an image may have; a new one has the first. Raises OSError."""
    stem = os.path.splitext(image.name)[0]  # noqa: PTH122 - a Path would read "." and ".." into the name
    names = [start + ending for start in (image.name, stem) for ending in _ENDINGS]
    if len(image.name) * 4 <= _LONG_NAME or len(os.fsencode(image.name)) <= _LONG_NAME:
        return names
    longest = os.fstatvfs(image.folder).f_namemax
    return [name for name in names if len(os.fsencode(name)) <= longest]


def sidecar_of(image: FileAt) -> FileAt:
    """Find the sidecar of an image, or the name for a new one. Raises XmpError and OSError."""
    names = [image._replace(name=name) for name in sidecar_names(image)]
    for entry in names:
        if entry.seems_taken() and (entry.name.startswith(image.name) or _is_for_no_other(entry, image)):
            return entry
    free = next((entry for entry in names if not entry.seems_taken()), None)
    if free is None:
        raise XmpError(tr("its name is too long for one of its own"))
    return free


def _is_for_no_other(entry: FileAt, image: FileAt) -> bool:
    """Whether ``cat.xmp`` is for ``cat.jpg``, and not for a ``cat.nef`` that is, or was, beside it."""
    if any(image._replace(name=name).seems_taken() for name in namesakes(image.name)):
        return False
    try:
        content, _ = _read(entry)
        extension = tags.read(content).extension
    except (XmpError, FileNotFoundError):
        return True  # it is found to be unreadable as the sidecar of this image
    return extension is None or image.name.lower().endswith(f".{extension.lower()}")


def read_own(image: FileAt, *, alone: bool = False) -> Tag | None:
    """Read our tag from the sidecar of an image; ``alone``: only if it holds nothing else. Raises XmpError, OSError."""
    try:
        content, _ = _read(sidecar_of(image))
    except FileNotFoundError:
        return None
    if alone and not tags.is_ours_alone(tags.remove(content)):
        return None
    return tags.read(content).own


def prepare(image: FileAt, tag: Tag | None) -> TagChange | None:
    """Prepare to put a tag into the sidecar of an image, or (None) to take ours out; None: there is nothing to do.

    Raises XmpError and OSError.
    """
    entry = sidecar_of(image)
    try:
        content, status = _read(entry)
    except FileNotFoundError:
        return None if tag is None else TagChange(entry, None, tags.merge(None, tag))
    wanted: bytes | None = tags.remove(content) if tag is None else tags.merge(content, tag)
    if wanted == content:
        return None
    if not status.st_mode & _WRITABLE:
        raise XmpError(tr("it is read-only"))
    if tag is None and wanted is not None and tags.is_ours_alone(wanted):
        wanted = None
    return TagChange(entry, Identity.from_stat(status), wanted)


def write(change: TagChange) -> None:
    """Write the new sidecar under its hidden name; it is not flushed. Raises OSError."""
    if change.content is None:
        return
    change.descriptor = create(change.part, 0o666 if change.before is None else 0o600)
    if change.before is None:
        hand_over(change.descriptor, change.part.folder)
    else:
        _copy_attributes(change.entry, change.descriptor)
    write_all(change.descriptor, change.content)
    begin_to_flush(change.descriptor)


def place(change: TagChange) -> None:
    """Give the new sidecar, which is durable, its name. Raises SourceChanged if the old one has changed."""
    name = change.part.name
    if change.content is None:
        if not renaming.drop(change.entry, name, lambda entry: _is_still(entry, change.before), unlink_closed):
            raise _changed(change)
    elif change.before is None:
        try:
            renaming.move_noreplace(change.part, change.entry, lambda: f"{name}.")
        except FileExistsError as error:
            raise _changed(change) from error
    else:
        try:
            _exchange(change)
        except CannotMove:
            if not renaming.drop(
                change.entry, f"{name}.", lambda entry: _is_still(entry, change.before), unlink_closed
            ):
                raise _changed(change) from None
            renaming.move_noreplace(change.part, change.entry, lambda: f"{name}.")


def _exchange(change: TagChange) -> None:
    renaming.exchange(change.part, change.entry)
    if not _is_still(change.part, change.before):
        renaming.exchange(change.part, change.entry)
        raise _changed(change)
    if is_being_written(change.part):
        renaming.exchange(change.part, change.entry)
        raise BeingWritten(tr("'{name}' is open for writing", name=change.entry.name))
    change.part.unlink()


def finish(change: TagChange) -> None:
    """Close the new sidecar, and remove it if it has not got its name."""
    if change.descriptor is None:
        return
    made = os.fstat(change.descriptor)
    close(change.descriptor)
    change.descriptor = None
    try:
        if os.path.samestat(change.part.stat(), made):
            change.part.unlink()
    except FileNotFoundError:
        pass


def recover_part(entry: FileAt, part: FileAt, tag: Tag | None) -> None:
    """Remove the hidden files of a change to ``tag`` that was killed. Raises OSError.

    The sidecar has its old or its new content, or there was none, or it has only a hidden name now. If another program
    wrote it meanwhile, what that wrote gets the name.
    """
    for hidden in (part, part._replace(name=f"{part.name}.")):
        if not hidden.exists():
            continue
        content = _content(hidden)
        if not entry.exists():
            if content is not None and tags.is_new(content):
                hidden.unlink()  # it may be half written, and nothing is lost with it
            else:
                renaming.put_back(hidden, entry)
            continue
        there = _content(entry)
        if content is not None and there is not None and _is_superseded(content, there, tag):
            hidden.unlink()
        elif there is not None and _own(there) == tag:
            renaming.exchange(hidden, entry)
            hidden.unlink()
        else:
            renaming.put_back(hidden, entry)


def _is_superseded(content: bytes, there: bytes, tag: Tag | None) -> bool:
    """Whether a hidden file is the old content of a sidecar, or the new one, whole or not, that never got its name."""
    if _own(content) == tag:
        return True
    try:
        wanted = tags.remove(there) if tag is None else tags.merge(there, tag)
        return wanted.startswith(content) or tags.remove(content) == tags.remove(there)
    except XmpError:
        return content == b""


def _own(content: bytes) -> Tag | str | None:
    """Read our tag, or None; "", which is equal to no tag, where the content is not XMP."""
    try:
        return tags.read(content).own
    except XmpError:
        return ""


def _content(entry: FileAt) -> bytes | None:
    try:
        return _read(entry)[0]
    except XmpError:
        return None


def _read(entry: FileAt) -> tuple[bytes, os.stat_result]:
    """Read a sidecar. Raises FileNotFoundError, XmpError and OSError."""
    try:
        descriptor = os.open(entry.name, OPEN_FLAGS, dir_fd=entry.folder)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise XmpError(tr("it is no regular file")) from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise XmpError(tr("it is no regular file"))
        if status.st_size > MOST_BYTES:
            raise too_large(status.st_size)
        content = b""
        while len(content) <= status.st_size and (more := os.read(descriptor, status.st_size + 1)):
            content += more
        return content, status
    finally:
        close(descriptor)


def _copy_attributes(old: FileAt, new: int) -> None:
    descriptor = os.open(old.name, OPEN_FLAGS, dir_fd=old.folder)
    try:
        copy_attributes(descriptor, new, os.fstat(descriptor))
    finally:
        close(descriptor)


def _is_still(entry: FileAt, before: Identity | None) -> bool:
    return Identity.from_stat(entry.stat()) == before


def _changed(change: TagChange) -> SourceChanged:
    return SourceChanged(tr("'{name}' was changed by another program", name=change.entry.name))
