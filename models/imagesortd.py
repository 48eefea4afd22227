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

_OVERVIEW = mark(
    "usage: imagesortd COMMAND [OPTION ...]\n\nfiling images:\n  watch       watch folders, and file every new "
    "image into the folder of its class\n  sort        copy the images of a folder into class folders, once\n  "
    "archive     classify millions of images, here or in a bucket: archive report, archive apply\n  history     "
    "show what was filed, when, where and why\n  undo        move images back to where they came from\n  "
    "retry       bring quarantined images back, to be classified again\n  release     let images that undo "
    "brought back be filed again\n  resort      move filed images to where a newer checkpoint files them\n  relabel "
    "    move images to another class, and keep that as a label\n  labels      list what you said of images; labels "
    "forget, labels export DIR\n  review      look through the images in a browser, and decide\n  status      show "
    "the state of the running daemon\n  rescan      let the running daemon look through its inboxes now\n  "
    "reload      let the running daemon read its settings again\n  alarms      list what was wrong, and when it "
    "was over\n  alerts      send alarms to your telephone, by mail, by MQTT, …\n  doctor      check everything "
    "that the daemon needs\n  unit        print or install a unit for systemd\n\nlearning classes:\n  fit         "
    "learn the classes of a folder of class folders, and publish them to the daemon\n  evaluate    measure the "
    "accuracy of a checkpoint\n  zero-shot   make a checkpoint from the names of its classes alone\n  learn       "
    "learn from the images that people put into the right folder; or from labels: learn --labels FILE\n  "
    "list        show the runs, and which one the daemon uses\n  publish     let the daemon use a run\n  "
    "rollback    let the daemon use the run that was published before\n  models      list, info NAME, pull NAME: "
    "the backbones and their weights\n\nhelp:\n  help COMMAND           explain a command, as COMMAND --help "
    "does\n  completion SHELL       print what makes the Tab key complete commands: bash, zsh or fish\n  "
    "--version              print the version\n"
)


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
