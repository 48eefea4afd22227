"""Try out what a folder's file system can do, with small files that no watcher looks at."""

from __future__ import annotations

import errno
import os
import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyFD, Mask

from daemon.files.answers import LIMIT
from daemon.files.mounts import remote_kind
from daemon.files.renaming import FOLDER_FLAGS, FileAt, link, rename_noreplace
from models.files.atomic import sync_folder
from models.text.language import mark, tr

INOTIFY_LIMITS = Path("/proc/sys/fs/inotify")

#: Less than this is not enough to go on with.
_FREE_BYTES, _FREE_FILES = 1 << 30, 10_000
_EVENT_SECONDS = 2.0
_NOT_ALLOWED = (errno.EACCES, errno.EPERM)
_WRITING = {
    errno.EROFS: mark("mount it for writing"),
    errno.ENOSPC: mark("make room, or images stay in the inbox"),
    errno.EDQUOT: mark("make room in the user's quota, or images stay in the inbox"),
}
_SOMETHING_ELSE = mark("look at its drive: dmesg may say more")
_MOST_FOLDERS = 200_000


@dataclass(frozen=True)
class Finding:
    """Result of one check. ``advice`` says what to do, if anything."""

    subject: str
    state: Literal["fine", "note", "wrong"]
    text: str
    advice: str | None = None


def fine(subject: str, text: str) -> Finding:
    """Make the finding that nothing is wrong."""
    return Finding(subject, "fine", text)


def wrong(subject: str, text: str, advice: str) -> Finding:
    """Make the finding that something has to be done."""
    return Finding(subject, "wrong", text, advice)


def note(subject: str, text: str, advice: str | None = None) -> Finding:
    """Make the finding that something works, but is worth knowing."""
    return Finding(subject, "note", text, advice)


def with_advice(sentence: str) -> tuple[str, str]:
    """Split a sentence into what is wrong and what to do: after a colon, or in Korean a sentence of its own."""
    about, *advice = re.split(r": |(?<=다)\. ", sentence, maxsplit=1)
    return about, "".join(advice)


def silent(subject: str, folder: Path | str) -> Finding:
    """Make the finding that the file system of a folder does not answer."""
    text = tr("{folder} has not answered for {seconds:.0f} s, and blocks the daemon", folder=folder, seconds=LIMIT)
    return wrong(subject, text, tr("look at its server or drive, or take the folder out of the settings until then"))


@contextmanager
def probe_file(folder: Path) -> Iterator[FileAt]:
    """Make a small hidden file in an open folder, and delete it afterwards. Raises OSError."""
    descriptor = os.open(folder, FOLDER_FLAGS)
    try:
        entry = FileAt(descriptor, f".imagesortd-probe-{uuid4().hex}")
        made = os.open(entry.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=descriptor)
        try:
            try:
                os.write(made, b"probe")
                os.fsync(made)
            finally:
                os.close(made)
            yield entry
        finally:
            with suppress(FileNotFoundError):
                entry.unlink()
    finally:
        os.close(descriptor)


def folder_findings(subject: str, folder: Path, *, links: bool = False, is_made: bool = False) -> Iterator[Finding]:
    """Check that files can be made, flushed, renamed without replacing and, with ``links``, linked there.

    ``is_made``: where the folder is missing, the daemon makes it at its start.
    """
    try:
        is_there = folder.is_dir()
    except OSError as error:
        values = {"folder": folder, "reason": error.strerror}
        text = tr("{folder} cannot be looked at ({reason})", **values)
        if error.errno in _NOT_ALLOWED:
            text = tr("{folder} cannot be looked at as this user ({reason})", **values)
        yield wrong(subject, text, tr("let the daemon's user enter the folders above it: chmod a+x"))
        return
    if not is_there:
        yield _missing(subject, folder, is_made=is_made)
        return
    try:
        with probe_file(folder) as entry:
            sync_folder(entry.folder)
            yield fine(subject, tr("{folder} can be written and flushed", folder=folder))
            yield from _renaming(subject, folder, entry)
            yield from _linking(subject, folder, entry, needed=links)
            yield from _attributes(subject, folder, entry)
    except OSError as error:
        advice = tr(_WRITING.get(error.errno or 0, _SOMETHING_ELSE))
        if error.errno in _NOT_ALLOWED:
            advice = tr("give it to the daemon's user: chown USER {folder}", folder=shlex.quote(str(folder)))
        yield wrong(subject, unwritable(folder, error), advice)
        return
    yield from _room(subject, folder)


def _missing(subject: str, folder: Path, *, is_made: bool) -> Finding:
    text = tr("{folder} is not there", folder=folder)
    if is_made:
        try:
            with probe_file(nearest_folder(folder)):
                return fine(subject, tr("{folder} is not there yet: the daemon makes it at its start", folder=folder))
        except OSError as error:
            text = unwritable(folder, error)
    return wrong(
        subject, text, tr("make it: mkdir -p {folder}; or mount what it is on", folder=shlex.quote(str(folder)))
    )


def nearest_folder(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder


def is_folder(path: Path) -> bool:
    """Whether there is a folder that can be seen."""
    try:
        return path.is_dir()
    except OSError:
        return False


def unwritable(folder: Path, error: OSError) -> str:
    """Say that a folder cannot be written, and why; name this user only where it is a matter of permission."""
    if error.errno in _NOT_ALLOWED:
        return tr("{folder} cannot be written as this user ({reason})", folder=folder, reason=error.strerror)
    return tr("{folder} cannot be written ({reason})", folder=folder, reason=error.strerror)


def _renaming(subject: str, folder: Path, entry: FileAt) -> Iterator[Finding]:
    other = entry._replace(name=f"{entry.name}-2")
    try:
        rename_noreplace(entry, other)
        rename_noreplace(other, entry)
    except OSError as error:
        with suppress(OSError):
            other.unlink()
        yield note(
            subject,
            tr(
                "{folder} has no rename that refuses to replace ({reason}): links or copies are made instead",
                folder=folder,
                reason=error.strerror,
            ),
            tr("nothing is at risk; a local file system such as ext4 or xfs is faster"),
        )
    else:
        yield fine(subject, tr("files are renamed without ever replacing one"))


def _attributes(subject: str, folder: Path, entry: FileAt) -> Iterator[Finding]:
    """Note which attributes are lost there: a picture is filed without them."""
    try:
        os.utime(entry.name, ns=(0, 10**18), dir_fd=entry.folder, follow_symlinks=False)
    except OSError as error:
        yield note(
            subject,
            tr(
                "files in {folder} do not keep their times ({reason}): it is mounted for another user",
                folder=folder,
                reason=error.strerror,
            ),
            tr("where the times of images matter, mount it with uid= of the daemon's user"),
        )


def _linking(subject: str, folder: Path, entry: FileAt, *, needed: bool) -> Iterator[Finding]:
    other = entry._replace(name=f"{entry.name}-2")
    try:
        link(entry, other)
        other.unlink()
    except OSError as error:
        values = {"folder": folder, "reason": error.strerror}
        if needed:
            text = tr('{folder} has no hard links ({reason}), so that action = "link" copies', **values)
            yield wrong(subject, text, tr('set action = "copy", or use another drive'))
        else:
            yield note(subject, tr("{folder} has no hard links ({reason})", **values))
    else:
        yield fine(subject, tr("hard links work"))


def _room(subject: str, folder: Path) -> Iterator[Finding]:
    stat = os.statvfs(folder)
    free = stat.f_bavail * stat.f_frsize
    if free < _FREE_BYTES:
        text = tr("{folder} has {size} MB left", folder=folder, size=free >> 20)
        yield wrong(subject, text, tr(_WRITING[errno.ENOSPC]))
    elif stat.f_files and stat.f_favail < _FREE_FILES:
        text = tr("{folder} has room for {count} more files", folder=folder, count=stat.f_favail)
        yield wrong(subject, text, tr("delete many small files there"))
    else:
        yield fine(subject, tr("{size} GB are free", size=free >> 30))


def event_findings(inbox: Path, *, poll: bool) -> Iterator[Finding]:
    """Check that new files in an inbox bring events."""
    if poll:
        yield note("events", tr("{inbox} is polled, as poll = true says", inbox=inbox))
        return
    if (kind := remote_kind(str(inbox))) is not None:
        text = tr(
            "{inbox} lies on {kind} and is polled: what others write there brings no events", inbox=inbox, kind=kind
        )
        yield note("events", text)
        return
    try:
        heard = hears(inbox)
    except OSError as error:
        yield wrong(
            "events",
            tr("{inbox} cannot be watched ({reason}), and would be polled", inbox=inbox, reason=error.strerror),
            tr(
                "raise the limits: {command}",
                command="sysctl fs.inotify.max_user_watches=1048576 fs.inotify.max_user_instances=1024",
            ),
        )
        return
    if heard is None:
        text = tr("no file can be made in {inbox} to see whether new ones bring events", inbox=inbox)
        yield note("events", text)
    elif heard:
        yield fine("events", tr("new files in {inbox} bring events at once", inbox=inbox))
    else:
        text = tr("a new file in {inbox} brought no event", inbox=inbox)
        yield wrong("events", text, tr("set poll = true in config.toml"))


class _EventCounter:
    """Counts the events that the inotify reader delivers."""

    def __init__(self) -> None:
        self.heard = threading.Event()

    def on_event(self, _: object) -> None:
        self.heard.set()

    def on_queue_overflow(self) -> None:
        self.heard.set()

    def on_watch_deleted(self, _: object) -> None:
        """Ignore it: the folder is gone."""


def hears(folder: Path) -> bool | None:
    """Whether a new file in the folder brings an event; None where none can be made. Raises OSError."""
    reader, counter = InotifyFD(), _EventCounter()
    reader.start()
    try:
        reader.add_callback(os.fsencode(folder), Mask(InotifyConstants.IN_CLOSE_WRITE), counter, CallbackId(1))
        with suppress(OSError), probe_file(folder):
            return counter.heard.wait(_EVENT_SECONDS)
        return None
    finally:
        reader.stop()
        reader.join()


def limit_findings(inboxes: list[Path], *, recursive: bool, limits: Path = INOTIFY_LIMITS) -> Iterator[Finding]:
    """Check that the kernel's limits for events are enough for the folders there are."""
    try:
        watches = int((limits / "max_user_watches").read_text())
        queue = int((limits / "max_queued_events").read_text())
    except (OSError, ValueError):
        yield note("limits", tr("the kernel does not say how many folders may be watched"))
        return
    folders = _count_folders(inboxes) if recursive else len(inboxes)
    if 2 * folders > watches:
        yield wrong(
            "limits",
            tr("{folders} folders are to be watched, and {watches} may be", folders=folders, watches=watches),
            f"sysctl fs.inotify.max_user_watches={max(1 << 20, 4 * folders)}",
        )
    else:
        yield fine("limits", tr("{watches} folders may be watched, {folders} are", watches=watches, folders=folders))
    if queue < 16384:
        advice = "sysctl fs.inotify.max_queued_events=65536"
        yield note(
            "limits",
            tr("{count} events are kept; when more come, the whole inbox is looked through", count=queue),
            advice,
        )


def _count_folders(inboxes: list[Path]) -> int:
    count = 0
    for inbox in inboxes:
        for _ in os.walk(inbox):
            count += 1
            if count >= _MOST_FOLDERS:
                return count
    return count
