"""``python -m daemon reload``: let the running daemon read its settings again, and look for a new checkpoint."""

from __future__ import annotations

from daemon.commands.asking import ask_daemon
from models.text.commandline import print_json
from models.text.language import tr
from models.text.printable import shown


def main(arguments: list[str]) -> int:
    """Have the settings read again; returns the exit code: 2 where they are wrong, 3 where no daemon runs."""
    description = tr(
        "Let the running daemon read its settings again, as SIGHUP does, and see whether another checkpoint is "
        "published. Exit code 2: the settings are wrong, and those in use stay; 3: no daemon runs."
    )
    result, as_json = ask_daemon("reload", description, arguments)
    if as_json:
        print_json(result)
    else:
        print(shown(_sentences(result)))
    return 0


def _sentences(result: dict[str, object]) -> str:
    taken, need_restart = (_names(result.get(key)) for key in ("taken", "need_restart"))
    if taken and need_restart:
        return tr("took over new settings: {taken}; these need a restart: {names}", taken=taken, names=need_restart)
    if taken:
        return tr("took over new settings: {names}", names=taken)
    if need_restart:
        return tr("these new settings need a restart: {names}", names=need_restart)
    return tr("the settings were read again: nothing has changed")


def _names(names: object) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) else ""
