"""Complete command lines on the Tab key, with argcomplete and the parsers of the commands."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

SHELLS = ("bash", "zsh", "fish")

#: The shell sets this variable to ask for completions; its value is the number of the word that names the program.
_VARIABLE = "_ARGCOMPLETE"


def is_asked_for() -> bool:
    """Return whether the shell runs this program only to ask for completions."""
    return _VARIABLE in os.environ


def shell_code(program: str, shell: str) -> str:
    """Return the code that makes a shell complete the program's command line."""
    from argcomplete.shell_integration import shellcode

    return shellcode([program], shell=shell) + "\n"


def command_line() -> list[str]:
    """Return the command before the cursor, or an empty word if there is none yet.

    For commands with a parser of their own, argcomplete is told that the command is the program.
    """
    from argcomplete.lexers import split_line

    from models.text.invocation import COMMANDS

    line, point = os.environ.get("COMP_LINE", ""), int(os.environ.get("COMP_POINT", "0"))
    before = os.fsencode(line)[:point].decode(errors="ignore")
    _, _, _, words, _ = split_line(before, len(before))
    arguments = words[1:]
    if arguments[:1] == ["help"]:
        os.environ[_VARIABLE] = "2"
        return [""]
    if arguments[:1] == ["labels"] and arguments[1:2] in (["forget"], ["export"]):  # each has a parser of its own
        os.environ[_VARIABLE] = "3"
        return arguments[:2]
    if arguments and (arguments[0] in ("completion", *COMMANDS["daemon"], *COMMANDS["models"])):
        os.environ[_VARIABLE] = "2"
    return arguments[:1] or [""]


def offer(action: argparse.Action, names: Callable[[argparse.Namespace], Iterable[str]]) -> None:
    """Complete the values of an option with ``names``, which is called with the options before the cursor."""
    action.completer = lambda parsed_args, **_: names(parsed_args)  # type: ignore[attr-defined]  # argcomplete's name


def complete(parser: argparse.ArgumentParser, given: Sequence[str]) -> NoReturn:
    """Print the completions for the shell, and exit; ``given`` names the command, if it has a subparser.

    Options are offered once a hyphen is typed, or at once if nothing else can follow.
    """
    import argcomplete

    argcomplete.autocomplete(parser, always_complete_options=False if _takes_names(parser, given) else "long")
    raise SystemExit(1)


def _takes_names(parser: argparse.ArgumentParser, given: Sequence[str]) -> bool:
    """Return whether a command has positional arguments."""
    positional = [action for action in parser._actions if not action.option_strings]
    for action in positional:
        if isinstance(action, argparse._SubParsersAction) and given and given[0] in action.choices:
            return _takes_names(action.choices[given[0]], given[1:])
    return bool(positional)
