"""The command line: ``python -m daemon --watch ./inbox``, ``python -m daemon sort`` and others."""

from __future__ import annotations

from contextlib import closing
from importlib import import_module

from daemon.decoding.launcher import Launcher
from daemon.files.capabilities import keep_from_children
from daemon.files.descriptors import allow_open_files
from models.errors import UserError
from models.text.commandline import run_and_exit
from models.text.completion import is_asked_for
from models.text.language import tr
from models.text.spelling import closest

#: Where each command is; only the one that is asked for is imported.
COMMANDS = {
    "history": ("history", "main"),
    "undo": ("undo", "undo_main"),
    "retry": ("undo", "retry_main"),
    "release": ("release", "main"),
    "resort": ("resort", "main"),
    "relabel": ("relabel", "main"),
    "labels": ("labels", "main"),
    "review": ("review", "main"),
    "learn": ("learn", "main"),
    "archive": ("archive", "main"),
    "unit": ("unit", "main"),
    "status": ("status", "main"),
    "rescan": ("rescan", "main"),
    "reload": ("reload", "main"),
    "alarms": ("alarms", "main"),
    "alerts": ("alerts", "main"),
    "doctor": ("doctor", "main"),
}

#: Options with a value that may come before the command, too.
_GENERAL = frozenset({"--language", "--config", "--output", "--state-dir"})


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    arguments = _command_first(arguments)
    name = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if name in COMMANDS:
        module, function = COMMANDS[name]
        return int(getattr(import_module(f"daemon.commands.{module}"), function)(arguments[1:]))
    if name not in (None, "watch", "sort"):
        near = closest(name, ("sort", *COMMANDS))
        names = ", ".join(COMMANDS)
        if near is None:
            raise UserError(
                tr("there is no command '{name}': give sort, {names}, or --watch INBOX", name=name, names=names)
            )
        raise UserError(
            tr(
                "there is no command '{name}' (did you mean {near}?): give sort, {names}, or --watch INBOX",
                name=name,
                near=near,
                names=names,
            )
        )
    arguments = arguments if name is None else arguments[1:]
    if is_asked_for():
        import_module("daemon.commands.sort" if name == "sort" else "daemon.commands.watch").parser().parse_args(
            arguments
        )
    allow_open_files()
    keep_from_children()
    with closing(Launcher()) as launcher:  # it imports what decoders need while we import the rest
        if name == "sort":
            from daemon.commands import sort

            return sort.main(arguments, launcher)
        from daemon.commands import watch

        return watch.main(arguments, launcher)


def _command_first(arguments: list[str]) -> list[str]:
    """Put a command before the options that most commands have, if these were given before it."""
    at = 0
    while at < len(arguments):
        option, equals, _ = arguments[at].partition("=")
        if option not in _GENERAL:
            break
        at += 1 if equals else 2
    if at and at < len(arguments) and arguments[at] in ("watch", "sort", *COMMANDS):
        return [arguments[at], *arguments[:at], *arguments[at + 1 :]]
    return arguments


if __name__ == "__main__":
    run_and_exit(main)
