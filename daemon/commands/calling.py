"""Find the running daemon that a command is about, and speak to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from daemon.commands.directly import operate_directly
from daemon.commands.filters import FiledOutput
from daemon.config import Settings
from daemon.control.client import ControlClient, NoDaemonAnswers, NotAdmitted
from daemon.control.protocol import PATIENCE, Refused
from daemon.operations.desk import Operation, Params
from daemon.state import control_paths, find_journal, is_locked, journal_path, running_control_paths, state_folders
from models.errors import UserError
from models.text.language import tr

EXIT_NOT_RUNNING = 3


class NoDaemon(UserError):
    """No daemon runs here, or it is just starting."""

    exit_code = EXIT_NOT_RUNNING


def operate(place: FiledOutput, method: str, params: Params) -> Operation:
    """Have the running daemon carry out an operation, or do so here where none runs. Raises `UserError`."""
    client = find_daemon(place.settings)
    if client is None:
        return (yield from operate_directly(place, method, params))
    with client:
        return (yield from client.call(method, params.model_dump(mode="json")))


def operate_by_daemon(place: FiledOutput, method: str, params: Params) -> Operation:
    """Have the running daemon carry out an operation. Raises `UserError`, also where none runs."""
    with running_daemon(place.settings, named=True) as client:
        return (yield from client.call(method, params.model_dump(mode="json")))


def find_daemon(settings: Settings, *, patience: float = PATIENCE) -> ControlClient | None:
    """Connect to the daemon that files into the output of these settings; None where none answers.

    ``patience``: seconds in which it must greet. Raises `UserError` where one answers that this user or this version of
    the command cannot speak to.
    """
    states = state_folders(settings.state_dir)
    own = [path for state in states for path in control_paths(state, settings.output)]
    others = [path for state in states for path in running_control_paths(state) if path not in own]
    refused: UserError | None = None
    for path in dict.fromkeys([*own, *others]):
        try:
            client = ControlClient(path, patience=patience)
        except NoDaemonAnswers:
            continue
        except (Refused, NotAdmitted) as error:
            if path in own and isinstance(error, Refused):
                raise
            refused = refused or error
            continue
        if client.output == settings.output:
            return client
        client.close()
    if refused is not None and not any(_has_idle_journal(state, settings.output) for state in states):
        raise refused  # it is the one, as far as this user can know
    return None


def running_daemon(settings: Settings, *, named: bool) -> ControlClient:
    """Connect to the daemon for these settings, or to the only one there is. Raises `UserError` where none answers.

    ``named``: the output was given on the command line. Where a daemon has filed into it before, that one is meant,
    and another is not asked in its place.
    """
    is_known = find_journal(settings.state_dir, settings.output) is not None
    client = find_daemon(settings) if named or is_known else find_only_daemon(settings)
    if client is not None:
        return client
    if any(is_locked(state, settings.output) for state in state_folders(settings.state_dir)):
        raise NoDaemon(
            tr(
                "a daemon files into {output}, but does not answer: ask again in a moment, and look at its log",
                output=settings.output,
            )
        )
    raise NoDaemon(
        tr(
            "no daemon that files into {output} answers: start one, or give the --output and the --state-dir of the "
            "one that runs",
            output=settings.output,
        )
    )


def find_only_daemon(settings: Settings, *, patience: float = PATIENCE) -> ControlClient | None:
    """Connect to the daemon for these settings, or else to the only one there is; None where there is none.

    ``patience``: seconds in which each must greet. Raises `UserError` where there are several.
    """
    if (own := find_daemon(settings, patience=patience)) is not None:
        return own
    paths = [path for state in state_folders(settings.state_dir) for path in running_control_paths(state)]
    found = list(_connect(paths, patience))
    if len(found) == 1:
        return found[0]
    for client in found:
        client.close()
    if not found:
        return None
    raise UserError(
        tr(
            "several daemons run here: say which with --output, one of {outputs}",
            outputs=", ".join(str(client.output) for client in found),
        )
    )


def _connect(paths: Iterable[Path], patience: float) -> Iterator[ControlClient]:
    for path in dict.fromkeys(paths):
        try:
            yield ControlClient(path, patience=patience)
        except (NoDaemonAnswers, Refused, NotAdmitted):
            continue


def _has_idle_journal(state: Path, output: Path) -> bool:
    """Whether the journal of that output is here for this user to write, and no daemon is at work there."""
    try:
        return os.access(journal_path(state, output), os.R_OK | os.W_OK) and not is_locked(state, output)
    except OSError:
        return False
