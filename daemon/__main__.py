"""The command line: ``python -m daemon --watch ./inbox``, and ``python -m daemon sort``."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from daemon import config
from daemon.config import Settings
from daemon.heap import keep_little
from daemon.logs import start_logging
from daemon.options import add_settings, given
from models.commandline import Parser, run
from models.errors import UserError

#: Where each command is; only the one that is asked for is imported.
_COMMANDS = {
    "sort": ("sorting", "main"),
    "history": ("history", "main"),
    "undo": ("back", "undo_main"),
    "retry": ("back", "retry_main"),
    "resort": ("resort", "main"),
    "unit": ("unit", "main"),
    "status": ("status", "main"),
    "doctor": ("doctor", "main"),
}

_EPILOG = """
commands:
  python -m daemon --watch INBOX     watch and file until stopped (this page)
  python -m daemon sort --help       copy the images of a folder into class folders, once
  python -m daemon history --help    what was filed, when, where and why
  python -m daemon undo --help       move images back to where they came from
  python -m daemon retry --help      bring quarantined images back, to be looked at again
  python -m daemon resort --help     move filed images to where a newer checkpoint files them
  python -m daemon status --help     how the running daemon is
  python -m daemon doctor --help     is everything there that the daemon needs?
  python -m daemon unit --help       print or install a unit for systemd

Every option but --config, --once and --dry-run may stand in config.toml or in the environment
(IMAGESORTD_THRESHOLD=0.6); config.toml explains them and names their defaults.
"""


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    if arguments and not arguments[0].startswith("-"):
        if arguments[0] not in _COMMANDS:
            known = ", ".join(_COMMANDS)
            raise UserError(f"there is no command {arguments[0]!r}: give {known}, or --watch INBOX")
        module, function = _COMMANDS[arguments[0]]
        return int(getattr(import_module(f"daemon.{module}"), function)(arguments[1:]))
    from daemon.service import watch  # the other commands start without it

    options = vars(_parser().parse_args(arguments))
    once, dry_run = options.pop("once", False), options.pop("dry_run", False)
    flags, file = given(options)

    def read() -> Settings:
        settings = config.load(flags, file)
        config.check_folders(settings)
        return settings

    settings = read()
    start_logging(settings.log_level, as_json=settings.log_json)
    keep_little()
    return watch(settings, once=once, dry_run=dry_run, reread=read)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon",
        description="Watch folders, and file every new image into the folder of its class.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # only what is given: the rest comes from environment, file and defaults
    )
    add_settings(parser)
    add = parser.add_argument
    add("--once", action="store_true", help="file what is there and stop; exit code 3 if something was left")
    add("--dry-run", action="store_true", help="say what would be done, and touch nothing")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
