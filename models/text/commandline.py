"""What the three command lines share: one sentence for a mistake, exit codes, underscore spellings."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import NoReturn

from loguru import logger

from models import REFUSED_ZONE
from models.errors import UserError
from models.text import completion, language
from models.text.invocation import SCRIPT, respelled, spelled, started_as_script
from models.text.jsontext import json_text
from models.text.language import tr, trn
from models.text.printable import shown
from models.text.spelling import closest

#: The exit code where some images were left behind.
EXIT_LEFT_BEHIND = 3


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one sentence, and that takes ``--data_dir`` for ``--data-dir``."""

    def __init__(self, **options: object) -> None:
        if started_as_script():
            options["prog"] = respelled(str(options.get("prog", SCRIPT)), SCRIPT)
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]
        self.add_argument(
            "--language",
            choices=(language.AUTO, *language.LANGUAGES),
            default=argparse.SUPPRESS,
            help=tr("of messages; auto: by the locale. The starter model's folders are Korean with ko, else English"),
        )

    def format_help(self) -> str:
        """The help, with the commands as they are spelled where this process was started."""
        text = super().format_help()
        return respelled(text, SCRIPT) if started_as_script() else text

    def parse_args(  # type: ignore[override]  # the overloads of the library's stubs
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse; where the shell asks what may come next, answer that and end."""
        if completion.is_asked_for():
            completion.complete(self, sys.argv[1:] if args is None else args)
        parsed: argparse.Namespace = super().parse_args(args, namespace)
        return parsed

    def parse_known_args(  # type: ignore[override]  # the overloads of the library's stubs
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; an option that is not known is complained of first, by the parser of the command it is given to.

        Otherwise a misspelled one that is required would be called missing.
        """
        given = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None:
            self._refuse(self._unknown(given))
        parsed, rest = super().parse_known_args(given, namespace)
        self._refuse(next((each for each in rest if each.startswith("-")), None))
        return parsed, rest

    def _unknown(self, arguments: Sequence[str]) -> str | None:
        """The first long option that this parser does not have."""
        for argument in arguments:
            if argument == "--":
                return None
            name = argument.partition("=")[0]
            if len(name) > 2 and name.startswith("--") and " " not in name and name not in self._option_string_actions:
                return name
        return None

    def _refuse(self, option: str | None) -> None:
        if option is not None:
            known = [each for each in self._option_string_actions if each.startswith("--")]
            near = closest(option.partition("=")[0].strip("-"), [each.removeprefix("--") for each in known])
            if near is None:
                self.error(tr("there is no option {option}", option=option))
            self.error(tr("there is no option {option}: did you mean --{near}?", option=option, near=near))

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Say of a command or a choice that is misspelled which one may be meant."""
        if action.choices is not None and value not in action.choices:
            choices = [str(each) for each in action.choices]
            begun = (each for each in choices if len(each) > 1 and str(value).lower().startswith(each))
            near = closest(str(value), choices) or next(begun, None)
            if near is not None:
                named = ", ".join(choices)
                text = tr("{value} is none of {choices}: did you mean {near}?", value=value, choices=named, near=near)
                raise argparse.ArgumentError(action, text)
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        """Raise `UserError` where argparse would print its usage and exit."""
        raise UserError(tr("{message} (see {prog} --help)", message=message, prog=self.prog))


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
    """Run a command line; returns its exit code.

    A `UserError` becomes its sentence and its exit code, a failing system call a sentence and 1, an interruption 130,
    with the sentence that it may carry. Anything else is a fault of this program: logged with its traceback, and 1.
    """
    package = sys.modules[main.__module__].__package__  # of python -m, the module is just "__main__"
    program = SCRIPT if started_as_script() or not package else package
    given = normalise(sys.argv[1:] if arguments is None else arguments)
    language.use(language.chosen(given))
    argparse._, argparse.ngettext = tr, trn  # type: ignore[attr-defined]  # it asks gettext for its own words so
    try:
        _check_encoding()
        _check_time_zone()
        code = main(given)
        sys.stdout.flush()
    except UserError as error:
        return _complain(f"{program}: {spelled(str(error))}", error.exit_code)
    except KeyboardInterrupt as stopped:
        return _complain(f"{program}: {str(stopped) or tr('interrupted')}", 130)
    except BrokenPipeError:
        # Whoever read our output has gone; leave without the complaint the interpreter would make at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except FileNotFoundError as error:
        if error.filename is None and not _is_somewhere():
            where = tr("the folder that you are in was deleted: go to another one with cd, and try again")
            return _complain(f"{program}: {where}", 2)
        return _complain(f"{program}: {_told(error)}", 1)
    except OSError as error:
        return _complain(f"{program}: {_told(error)}", 1)
    except Exception as error:
        logger.opt(exception=error).critical(tr("{program} has failed by a fault of its own", program=program))
        return 1
    return code


def _told(error: OSError) -> str:
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{place}{tr(error.strerror or str(error))}"


def _is_somewhere() -> bool:
    """Whether the working folder still exists."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def run_and_exit(main: Callable[[list[str]], int]) -> NoReturn:
    """`run`, and the end of the program.

    At its end the interpreter looks for cycles in everything that was ever imported, which takes 0.1 s, and with torch
    half a second; frozen objects are left out of that.
    """
    _open_standard_streams()
    _print_any_letter()
    code = run(main)
    gc.freeze()
    sys.exit(code)


def _open_standard_streams() -> None:
    """Let what we print go nowhere where its stream was closed.

    Else the next file that is opened, the journal perhaps, would get its number, and what a library writes to it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False))  # noqa: SIM115


def _print_any_letter() -> None:
    """Let standard output escape the letters that the terminal's encoding lacks, as standard error does anyway.

    Otherwise a class name in Hangul would end the program where the locale is one of Latin letters.
    """
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def print_json(value: object) -> None:
    """Print a result as JSON; letters that standard output cannot write are escaped."""
    print(json_text(value, indent=1, encoding=sys.stdout.encoding))


def _check_time_zone() -> None:
    """Refuse a time zone in which no time can be said. Raises `UserError`."""
    if REFUSED_ZONE is not None:
        raise UserError(
            tr(
                "the time zone {zone} is a day or more away from UTC: set TZ to another, for example TZ=Asia/Seoul",
                zone=REFUSED_ZONE,
            )
        )


def _check_encoding() -> None:
    """Refuse a locale in which the name of a class could not be the name of a folder. Raises `UserError`.

    Python takes a plain C locale for UTF-8 by itself; what comes here was asked for.
    """
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise UserError(
            tr(
                "names of files are in {encoding} by your locale, and here they have to be in UTF-8: set "
                "PYTHONUTF8=1 or LC_ALL=C.UTF-8",
                encoding=encoding,
            )
        )


def _complain(sentence: str, code: int) -> int:
    """Print one line: what names of files and checkpoints may hold for a terminal to act on is escaped."""
    print(shown(sentence), file=sys.stderr)
    return code
