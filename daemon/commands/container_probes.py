"""Check what is different in a container: who the daemon is, and whether its folders lie on volumes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from daemon.commands.probes import Finding, fine, note, wrong
from daemon.config import Settings
from daemon.files.mounts import MOUNTINFO, kind_of, mount_of
from daemon.state import state_folder
from models.text.language import tr

#: Files that Podman and Docker put into every container.
MARKS = (Path("/run/.containerenv"), Path("/.dockerenv"))
#: The command line of a container's first process, and what stands there in the container of this program.
FIRST_PROCESS = Path("/proc/1/cmdline")
_OURS = b"daemon.container.init"
#: Kinds of file systems that are lost with the container.
_PASSING = frozenset({"overlay", "tmpfs", "ramfs"})


def is_in_container() -> bool:
    """Whether this process runs in a container."""
    return "container" in os.environ or any(mark.exists() for mark in MARKS)


def is_ours() -> bool:
    """Whether it is the container that this program comes with, whose folders are meant to be volumes."""
    try:
        return _OURS in FIRST_PROCESS.read_bytes().split(b"\0")
    except OSError:
        return False


def container_findings(settings: Settings) -> Iterator[Finding]:
    """Check a container, if this is one."""
    if not is_in_container():
        return
    user = f"{os.geteuid()}:{os.getegid()}"
    if os.geteuid() == 0:
        yield note(
            "container",
            tr("this is a container, and the daemon is root in it ({user})", user=user),
            tr("give the numbers of a user: --user 1000:1000, or PUID and PGID of compose.yaml"),
        )
    else:
        yield fine("container", tr("this is a container; files belong to {user}", user=user))
    try:
        table = MOUNTINFO.read_bytes()
    except OSError:
        return
    places = [*settings.watch, settings.output, settings.checkpoint, state_folder(settings.state_dir)]
    for place in dict.fromkeys(places):
        yield _volume(place, table)


def _volume(place: Path, table: bytes) -> Finding:
    path = os.path.realpath(place)
    kind, mount = kind_of(path, table), mount_of(path, table)
    if mount in (None, "/") or kind in _PASSING:
        text = tr("{folder} lies in the container itself ({kind}), and is lost with it", folder=place, kind=kind or "?")
        advice = tr("mount a folder there: --volume FOLDER:{folder}", folder=place)
        # Another container may be a whole machine that somebody works on: there, files may lie anywhere.
        return wrong("container", text, advice) if is_ours() else note("container", text, advice)
    return fine("container", tr("{folder} is a volume ({kind})", folder=place, kind=kind))
