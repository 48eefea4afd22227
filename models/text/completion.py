"""The Tab key: argcomplete asks the parsers of the commands themselves what may come next."""

from __future__ import annotations

import argparse
import os
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


def complete(parser: argparse.ArgumentParser) -> NoReturn:
    """Tell the shell what may come next, and end the process."""
    import argcomplete

    argcomplete.autocomplete(parser)
    raise SystemExit(1)
