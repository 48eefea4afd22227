"""Check the control socket: whether it can be made, whether a daemon answers, and who may use it."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from pathlib import Path

from daemon.commands.calling import find_daemon
from daemon.commands.probes import Finding, fine, note, wrong
from daemon.config import Settings
from daemon.control.listening import group_id, is_too_long
from daemon.state import LONGEST_SOCKET_PATH, control_path, is_locked, state_folders
from models.errors import UserError
from models.text.language import tr


def control_findings(settings: Settings) -> Iterator[Finding]:
    """Check that commands can speak to the daemon of these settings."""
    group = settings.control_group
    if group and group_id(group) is None:
        text = tr("control_group: there is no group {group}", group=group)
        yield wrong("control", text, tr("make it with groupadd, or name another one"))
    try:
        client = find_daemon(settings)
    except UserError as error:
        yield wrong("control", str(error), tr("fix that, and run this again"))
        return
    if client is None:
        yield _unanswered(settings)
        return
    with client:
        yield fine("control", tr("the daemon answers at {path}", path=client.path))
        yield from _access_findings(client.path, group)


def _unanswered(settings: Settings) -> Finding:
    states = state_folders(settings.state_dir)
    if any(is_locked(state, settings.output) for state in states):
        text = tr("a daemon files into {output}, but commands cannot speak to it", output=settings.output)
        return wrong("control", text, tr("look at its log, and start it again"))
    path = control_path(states[0], settings.output)
    if is_too_long(path):
        text = tr(
            "commands could not speak to a daemon with these settings: the path of its socket is longer than {most} "
            "bytes ({path})",
            most=LONGEST_SOCKET_PATH,
            path=path,
        )
        return wrong("control", text, tr("give a shorter --state-dir"))
    return note("control", tr("no daemon runs here now; commands will reach it at {path}", path=path))


def _access_findings(path: Path, name: str) -> Iterator[Finding]:
    """Say who may use the socket, and which folder keeps the group of control_group from it."""
    status = path.stat()
    owner = _user(status.st_uid)
    if not name:
        is_of_root = status.st_uid == 0
        yield fine(
            "control", tr("only root may use it") if is_of_root else tr("{user} and root may use it", user=owner)
        )
        return
    group = group_id(name)
    if not status.st_mode & 0o060:
        text = tr("the group {group} may not use the socket {path}", group=name, path=path)
        yield wrong("control", text, tr("restart the daemon, which reads control_group at its start"))
        return
    closed = [folder for folder in path.parents if not _may_enter(folder, group)]
    if closed:
        text = tr("the group {group} cannot enter {folder}, where the socket is", group=name, folder=closed[-1])
        yield wrong(
            "control",
            text,
            tr("open it with chmod o+x; in a unit, write that again: python -m daemon unit --install"),
        )
    elif status.st_uid == 0:
        yield fine("control", tr("root and the group {group} may use it", group=name))
    else:
        yield fine("control", tr("{user}, root and the group {group} may use it", user=owner, group=name))


def _may_enter(folder: Path, group: int | None) -> bool:
    status = folder.stat()
    return bool(status.st_mode & 0o001 or (status.st_gid == group and status.st_mode & 0o010))


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
