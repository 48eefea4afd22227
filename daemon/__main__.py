"""The command line: ``python -m daemon --watch ./inbox``, and ``python -m daemon sort``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from daemon import back, config, history, sorting
from daemon.config import Settings
from daemon.logs import start_logging
from daemon.service import watch
from models.commandline import Parser, run
from models.errors import UserError

_EPILOG = """
commands:
  python -m daemon --watch INBOX     watch and file until stopped (this page)
  python -m daemon sort --help       copy the images of a folder into class folders, once
  python -m daemon history --help    what was filed, when, where and why
  python -m daemon undo --help       move images back to where they came from
  python -m daemon retry --help      bring quarantined images back, to be looked at again

Every option but --config, --once and --dry-run may stand in config.toml or in the environment
(IMAGESORTD_THRESHOLD=0.6); config.toml explains them and names their defaults.
"""


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    if arguments[:1] == ["sort"]:
        return sorting.main(arguments[1:])
    if arguments[:1] == ["history"]:
        return history.main(arguments[1:])
    if arguments[:1] == ["undo"]:
        return back.undo_main(arguments[1:])
    if arguments[:1] == ["retry"]:
        return back.retry_main(arguments[1:])
    if arguments and not arguments[0].startswith("-"):
        raise UserError(f"there is no command {arguments[0]!r}: give sort, history, undo, retry, or --watch INBOX")
    options = vars(_parser().parse_args(arguments))
    file, once, dry_run = options.pop("config", None), options.pop("once", False), options.pop("dry_run", False)

    def read() -> Settings:
        settings = config.load(options, file)
        config.check_folders(settings)
        return settings

    settings = read()
    start_logging(settings.log_level, as_json=settings.log_json)
    return watch(settings, once=once, dry_run=dry_run, reread=read)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon",
        description="Watch folders, and file every new image into the folder of its class.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # only what is given: the rest comes from environment, file and defaults
    )
    add = parser.add_argument
    add("--watch", action="append", metavar="INBOX", help="a folder to watch; may be repeated (./inbox)")
    add("--output", metavar="DIR", help="where class folders appear (./sorted)")
    add("--checkpoint", metavar="PATH", help="checkpoint file, run folder, or folder the trainer publishes to")
    add("--threshold", metavar="P", help='less probable images go to the others: 0 to 1, or "auto"')
    add("--others-dir", metavar="NAME", help="folder for unsure images (others)")
    add("--quarantine-dir", metavar="NAME", help="folder for unreadable files (quarantine)")
    add("--action", metavar="move|copy|link", help="what filing does (move)")
    add("--language", metavar="en|ko", help="of the starter model's folders (en)")
    add("--recursive", action=argparse.BooleanOptionalAction, help="watch the folders inside, too")
    add("--poll", action=argparse.BooleanOptionalAction, help="look again and again instead of using events")
    add("--settle-seconds", metavar="S", help="quiet time after which a file is complete (2)")
    add("--rescan-seconds", metavar="S", help="time between looks at the whole inbox (60)")
    add("--batch-size", metavar="N", help="images per step of the model (8)")
    add("--threads", metavar="N", help="threads that decode and compute; 0 is one per core")
    add("--device", metavar="cpu|cuda", help="where the model computes (cpu)")
    add("--precision", metavar="float32|int8", help="of transformers such as CLIP (float32)")
    add("--max-megapixels", metavar="N", help="larger images go to the quarantine (200)")
    add("--max-file-mb", metavar="N", help="larger files go to the quarantine (512)")
    add("--decode-memory-mb", metavar="N", help="images that need more to be decoded go to the quarantine (2048)")
    add("--decode-seconds", metavar="S", help="images that need longer to be decoded go to the quarantine (60)")
    add("--plugins", metavar="NAMES", help="packages that may bring backbones, joined with commas")
    add("--cache-dir", metavar="DIR", help="for weights and graphs (~/.cache/imagesortd)")
    add("--state-dir", metavar="DIR", help="for the journal (~/.local/state/imagesortd)")
    add("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR")
    add("--log-json", action=argparse.BooleanOptionalAction, help="one JSON object per line")
    add("--config", type=Path, metavar="FILE", help="settings file (./config.toml where there is one)")
    add("--once", action="store_true", help="file what is there and stop; exit code 3 if something was left")
    add("--dry-run", action="store_true", help="say what would be done, and touch nothing")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
