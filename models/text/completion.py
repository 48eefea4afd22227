"""The Tab key: argcomplete asks the parsers of the commands themselves what may come next."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

SHELLS = ("bash", "zsh", "fish")

#: With this the shell runs the program to be told what may come next: the number of the word that is the program.
_ASKED = "_ARGCOMPLETE"


def is_asked_for() -> bool:
    """Whether the shell wants to know what may come next, and nothing to be done."""
    return _ASKED in os.environ


def shell_code(program: str, shell: str) -> str:
    """What a shell runs to complete the program's command line."""
    from argcomplete.shell_integration import shellcode

    return shellcode([program], shell=shell) + "\n"


def command_line() -> list[str]:
    """The command that stands before the cursor; an empty word where none is given yet.

    Where each command has a parser of its own, its name stands for the program to argcomplete.
    """
    from argcomplete.lexers import split_line

    from models.text.invocation import COMMANDS

    line, point = os.environ.get("COMP_LINE", ""), int(os.environ.get("COMP_POINT", "0"))
    before = os.fsencode(line)[:point].decode(errors="ignore")
    _, _, _, words, _ = split_line(before, len(before))
    given = words[1:]
    if given[:1] == ["help"]:
        os.environ[_ASKED] = "2"
        return [""]
    if given and (given[0] in ("completion", *COMMANDS["daemon"], *COMMANDS["models"])):
        os.environ[_ASKED] = "2"
    return given[:1] or [""]


def offer(action: argparse.Action, names: Callable[[argparse.Namespace], Iterable[str]]) -> None:
    """Have the Tab key offer these as values of an option; they are asked for with the options that stand before it."""
    action.completer = lambda parsed_args, **_: names(parsed_args)  # type: ignore[attr-defined]  # argcomplete's name


def complete(parser: argparse.ArgumentParser, given: Sequence[str]) -> NoReturn:
    """Tell the shell what may come next, and end the process; ``given`` names the command, where it has a subparser.

    Options are offered once a hyphen is typed, and at once where nothing else can come.
    """
    import argcomplete

    argcomplete.autocomplete(parser, always_complete_options=False if _takes_names(parser, given) else "long")
    raise SystemExit(1)


def _takes_names(parser: argparse.ArgumentParser, given: Sequence[str]) -> bool:
    """Whether a command has arguments that are no options."""
    positional = [action for action in parser._actions if not action.option_strings]
    for action in positional:
        if isinstance(action, argparse._SubParsersAction) and given and given[0] in action.choices:
            return _takes_names(action.choices[given[0]], given[1:])
    return bool(positional)
