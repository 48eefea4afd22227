"""The script ``imagesortd``: the commands of the daemon, the trainer and the models under one name.

It finds modules where it is installed, never in the current folder. The package of a command is imported by name when
the command runs, so that `models` does not depend on the daemon or the trainer.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from importlib import import_module

from models.errors import UserError
from models.text import completion
from models.text.commandline import Parser, run_and_exit
from models.text.invocation import COMMANDS, SCRIPT, use_script
from models.text.language import mark, tr
from models.text.spelling import closest

_PACKAGES = {command: package for package, commands in COMMANDS.items() for command in commands}

_OVERVIEW = mark("""\
usage: imagesortd COMMAND [OPTION ...]

filing pictures:
  watch       watch folders, and file every new picture into the folder of its class
  sort        copy the pictures of a folder into class folders, once
  archive     classify millions of pictures, here or in a bucket: archive report, archive apply
  history     show what was filed, when, where and why
  undo        move pictures back to where they came from
  retry       bring quarantined pictures back, to be classified again
  release     let pictures be filed again that undo brought back
  resort      move filed pictures to where a newer checkpoint files them
  relabel     move pictures to another class, and keep that as a label
  labels      list what you said of pictures; labels forget, labels export DIR
  review      look through the pictures in a browser, and decide
  status      show the state of the running daemon
  rescan      let the running daemon look through its inboxes now
  reload      let the running daemon read its settings again
  alarms      list what was wrong, and when it was over
  alerts      send alarms to your telephone, by mail, by MQTT, …
  doctor      check everything that the daemon needs
  unit        print or install a unit for systemd

learning classes:
  fit         learn the classes of a folder of class folders, and publish them to the daemon
  evaluate    measure the accuracy of a checkpoint
  zero-shot   make a checkpoint from the names of its classes alone
  learn       learn from the pictures that people put into the right folder; or from labels: learn --labels FILE
  list        show the runs, and which one the daemon uses
  publish     let the daemon use a run
  rollback    let the daemon use the run that was published before
  models      list, info NAME, pull NAME: the backbones and their weights

help:
  help COMMAND           explain a command, as COMMAND --help does
  completion SHELL       print what makes the Tab key complete commands: bash, zsh or fish
  --version              print the version
""")


def script() -> None:
    """Run the script and exit."""
    use_script()
    run_and_exit(main)


def main(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    if completion.is_asked_for():
        arguments = completion.command_line()
    name, *rest = arguments or ["help"]
    if name in ("help", "--help", "-h"):
        if rest:
            return main([*rest, "--help"])
        print(tr(_OVERVIEW), end="")
        return 0
    if name == "--version":
        print(SCRIPT, _version())
        return 0
    if name == "completion":
        return _completion(rest)
    if name.startswith("-"):  # as in python -m daemon: options without a command are those of watch
        name, rest = "watch", arguments
    if name in _PACKAGES:
        return _main_of(_package_of(name, rest))(rest if name == "models" else [name, *rest])
    if completion.is_asked_for():
        completion.complete(_names_parser(), ())
    near = closest(name, [*_PACKAGES, "help", "completion"])
    if near:
        raise UserError(tr("there is no command {name}: did you mean {near}?", name=name, near=near))
    raise UserError(tr("there is no command {name}: see imagesortd help", name=name))


def _package_of(name: str, arguments: list[str]) -> str:
    """Return the package of a command; ``learn`` is the trainer's where it is given labels or a folder of runs."""
    if name == "learn" and not any(word.partition("=")[0] in ("--labels", "--checkpoints") for word in arguments):
        return "daemon"
    return _PACKAGES[name]


def _version() -> str:
    try:
        return importlib.metadata.version(SCRIPT)
    except importlib.metadata.PackageNotFoundError:
        return tr("from a clone that is not installed")


def _main_of(package: str) -> Callable[[list[str]], int]:
    module = import_module(f"{package}.__main__")
    main: Callable[[list[str]], int] = getattr(module, "start", module.main)
    return main


def _completion(arguments: list[str]) -> int:
    parser = Parser(prog=f"{SCRIPT} completion", description=tr("Print what makes the Tab key complete commands."))
    parser.add_argument("shell", choices=completion.SHELLS, metavar="SHELL", help=tr("bash, zsh or fish"))
    print(completion.shell_code(SCRIPT, parser.parse_args(arguments).shell), end="")
    return 0


def _names_parser() -> Parser:
    """Make the parser that completes the name of a command."""
    parser = Parser(prog=SCRIPT)
    parser.add_argument("command", choices=[*_PACKAGES, "help", "completion"])
    parser.add_argument("--version", action="store_true")
    return parser
