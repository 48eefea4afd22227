"""What the three command lines share: one sentence for a mistake, exit codes, underscore spellings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from .errors import UserError


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one sentence, and that takes ``--data_dir`` for ``--data-dir``."""

    def __init__(self, **options: object) -> None:
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Raise `UserError` where argparse would print its usage and exit."""
        raise UserError(f"{message} (see {self.prog} --help)")


def normalise(arguments: Sequence[str]) -> list[str]:
    """Option names with underscores, spelled with hyphens; values are left as they are."""
    spelled: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return [*spelled, *arguments[index:]]
        name, equals, value = argument.partition("=")
        spelled.append((name.replace("_", "-") + equals + value) if name.startswith("--") else argument)
    return spelled


def run(main: Callable[[list[str]], int], arguments: Sequence[str] | None = None) -> int:
    """Run a command line; a `UserError` becomes its sentence and its exit code, an interruption 130."""
    program = sys.modules[main.__module__].__package__ or main.__module__
    try:
        return main(normalise(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; leave without the complaint the interpreter would make at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
