"""Run the command lines of all packages: errors as one sentence, exit codes, options with underscores."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
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

#: The exit code if some images were left behind.
EXIT_LEFT_BEHIND = 3


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence that suggests the nearest option, command or choice."""

    def __init__(self, **options: object) -> None:
        if started_as_script():
            options["prog"] = respelled(str(options.get("prog", SCRIPT)), SCRIPT)
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]
        self.add_argument(
            "--language",
            choices=(language.AUTO, *language.LANGUAGES),
            default=argparse.SUPPRESS,
            help=tr(
                "language of messages; auto: by locale. The starter model's folders are Korean with ko, else English"
            ),
        )

    def format_help(self) -> str:
        """Format the help, with commands spelled as the user can type them."""
        text = super().format_help()
        return respelled(text, SCRIPT) if started_as_script() else text

    def parse_args(  # type: ignore[override]  # the overloads of the library's stubs
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse arguments; if the shell asks for completions, print them and exit."""
        if completion.is_asked_for():
            completion.complete(self, sys.argv[1:] if args is None else args)
        parsed: argparse.Namespace = super().parse_args(args, namespace)
        return parsed

    def parse_known_args(  # type: ignore[override]  # the overloads of the library's stubs
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse arguments; an unknown option is reported first, by the parser of its command.

        Otherwise argparse would report that a misspelled required option is missing.
        """
        arguments = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None:
            self._refuse(self._unknown_option(arguments))
        parsed, extras = super().parse_known_args(arguments, namespace)
        self._refuse(next((extra for extra in extras if extra.startswith("-")), None))
        return parsed, extras

    def _unknown_option(self, arguments: Sequence[str]) -> str | None:
        """Return the first long option that this parser does not have."""
        for argument in arguments:
            if argument == "--":
                return None
            name = argument.partition("=")[0]
            if len(name) > 2 and name.startswith("--") and " " not in name and name not in self._option_string_actions:
                return name
        return None

    def _refuse(self, option: str | None) -> None:
        if option is not None:
            known = [name.removeprefix("--") for name in self._option_string_actions if name.startswith("--")]
            near = closest(option.partition("=")[0].strip("-"), known)
            if near is None:
                self.error(tr("there is no option {option}", option=option))
            self.error(tr("there is no option {option}: did you mean --{near}?", option=option, near=near))

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Suggest the nearest one for a misspelled command or choice."""
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            prefixes = (choice for choice in choices if len(choice) > 1 and str(value).lower().startswith(choice))
            near = closest(str(value), choices) or next(prefixes, None)
            if near is not None:
                names = ", ".join(choices)
                text = tr(
                    "{value} is not one of {choices}: did you mean {near}?", value=value, choices=names, near=near
                )
                raise argparse.ArgumentError(action, text)
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        """Raise `UserError`; argparse would print its usage and exit."""
        raise UserError(tr("{message} (see {prog} --help)", message=message, prog=self.prog))


def normalise(arguments: Sequence[str]) -> list[str]:
    """Spell names of options with hyphens, such as ``--data_dir``; values stay as they are."""
    normalised: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return [*normalised, *arguments[index:]]
        name, equals, value = argument.partition("=")
        normalised.append((name.replace("_", "-") + equals + value) if name.startswith("--") else argument)
    return normalised


def run(main: Callable[[list[str]], int], arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code.

    A `UserError` is printed and gives its own exit code, a failed system call is printed and gives 1, and an
    interruption gives 130. Any other exception is an internal error, which is logged with its traceback and gives 1.
    """
    package = sys.modules[main.__module__].__package__  # with python -m the name of the module is only "__main__"
    program = SCRIPT if started_as_script() or not package else package
    normalised = normalise(sys.argv[1:] if arguments is None else arguments)
    language.use(language.choose(normalised))
    argparse._, argparse.ngettext = tr, trn  # type: ignore[attr-defined]  # argparse translates its messages with these
    try:
        _check_encoding()
        _check_time_zone()
        code = main(normalised)
        sys.stdout.flush()
    except UserError as error:
        return _complain(f"{program}: {spelled(str(error))}", error.exit_code)
    except KeyboardInterrupt as interruption:
        return _complain(f"{program}: {str(interruption) or tr('interrupted')}", 130)
    except BrokenPipeError:
        # The reader of our output has closed the pipe; avoid the interpreter's own message at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except FileNotFoundError as error:
        if error.filename is None and not _current_folder_exists():
            message = tr("the current folder was deleted: go to another one with cd, and try again")
            return _complain(f"{program}: {message}", 2)
        return _complain(f"{program}: {_describe(error)}", 1)
    except OSError as error:
        return _complain(f"{program}: {_describe(error)}", 1)
    except Exception as error:
        logger.opt(exception=error).critical(tr("{program} failed because of an internal error", program=program))
        return 1
    return code


def _describe(error: OSError) -> str:
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{place}{tr(error.strerror or str(error))}"


def _current_folder_exists() -> bool:
    """Return whether the current folder has not been deleted."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def run_and_exit(main: Callable[[list[str]], int]) -> NoReturn:
    """Run a command line and exit.

    At exit the interpreter searches all imported objects for cycles, which takes 0.1 s, and half a second with torch;
    frozen objects are left out.
    """
    _open_standard_streams()
    _escape_unencodable()
    code = run(main)
    gc.freeze()
    sys.exit(code)


def _open_standard_streams() -> None:
    """Open closed standard streams on the null device.

    Otherwise the next file that is opened, the journal perhaps, would get that descriptor, and the output of libraries.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False))  # noqa: SIM115


def _escape_unencodable() -> None:
    """Make standard output escape letters that its encoding lacks, as standard error always does.

    Otherwise a class name in Hangul would end the program in a Latin locale.
    """
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def print_json(value: object) -> None:
    """Print a result as JSON, with letters escaped that standard output cannot write."""
    print(json_text(value, indent=1, encoding=sys.stdout.encoding))


def print_json_list(records: Iterable[Mapping[str, object]]) -> None:
    """Print a list as JSON, one object a line, as they come."""
    separator = "[\n"
    for entry in records:
        sys.stdout.write(separator + json_text(entry, encoding=sys.stdout.encoding))
        separator = ",\n"
    print("[]" if separator == "[\n" else "\n]")


def _check_time_zone() -> None:
    """Raise `UserError` for a time zone that Python cannot represent."""
    if REFUSED_ZONE is not None:
        raise UserError(
            tr(
                "the time zone {zone} is a day or more away from UTC: set TZ to another, for example TZ=Asia/Seoul",
                zone=REFUSED_ZONE,
            )
        )


def _check_encoding() -> None:
    """Raise `UserError` for a locale in which some class names cannot be names of folders.

    Python itself uses UTF-8 in the plain C locale, so any other encoding was chosen by the user.
    """
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise UserError(
            tr(
                "your locale encodes file names as {encoding}, but they must be UTF-8: set PYTHONUTF8=1 or "
                "LC_ALL=C.UTF-8",
                encoding=encoding,
            )
        )


def _complain(message: str, code: int) -> int:
    """Print one line on standard error, with control characters escaped."""
    print(shown(message), file=sys.stderr)
    return code
