"""The command line: ``python -m daemon --watch ./inbox``, and ``python -m daemon sort``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from loguru import logger

from daemon import back, config, history, sorting
from daemon.config import Settings
from daemon.filing import Filer
from daemon.journal import Journal
from daemon.logs import start_logging
from daemon.loop import WorkLoop
from daemon.pipeline import Pipeline, Policy
from daemon.reload import Reloader
from daemon.replay import replay
from daemon.state import journal_path, lock, state_folder
from daemon.watcher import InboxWatcher
from models import registry
from models.classifier import Classifier
from models.commandline import Parser, run
from models.errors import UserError
from models.runtime import cores
from models.weights import WeightsStore

EXIT_LEFT_BEHIND = 3

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
    settings = config.load(options, file)
    config.check_folders(settings)
    start_logging(settings.log_level, as_json=settings.log_json)
    return watch(settings, once=once, dry_run=dry_run)


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
    add("--plugins", metavar="NAMES", help="packages that may bring backbones, joined with commas")
    add("--cache-dir", metavar="DIR", help="for weights and graphs (~/.cache/imagesortd)")
    add("--state-dir", metavar="DIR", help="for the journal (~/.local/state/imagesortd)")
    add("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR")
    add("--log-json", action=argparse.BooleanOptionalAction, help="one JSON object per line")
    add("--config", type=Path, metavar="FILE", help="settings file (./config.toml where there is one)")
    add("--once", action="store_true", help="file what is there and stop; exit code 3 if something was left")
    add("--dry-run", action="store_true", help="say what would be done, and touch nothing")
    return parser


def watch(settings: Settings, *, once: bool, dry_run: bool) -> int:
    """File what arrives in the inboxes until SIGTERM or SIGINT, or with ``once`` what is there; the exit code."""
    registry.allow(settings.plugins)
    threads = settings.threads or cores()
    for inbox in settings.watch:
        _make(inbox, "watch", dry_run=dry_run)
    _make(settings.output, "output", dry_run=dry_run)
    state = state_folder(settings.state_dir)
    with ExitStack() as closing:
        if not dry_run:
            closing.enter_context(lock(state, dict.fromkeys([*settings.watch, settings.output])))
        store = WeightsStore(settings.cache_dir)
        reloader = Reloader.of(settings, store)
        classifier = reloader.first()
        journal = _journal(journal_path(state, settings.output), dry_run=dry_run)
        closing.callback(journal.close)
        filer = Filer(settings.output, action=settings.action, journal=journal, dry_run=dry_run)
        pipeline = Pipeline(classifier, filer, Policy.of(settings), threads=threads)
        closing.callback(pipeline.close)
        watcher = _watcher(settings, classifier)
        closing.callback(watcher.stop)
        loop = WorkLoop(watcher, pipeline, reloader)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.stop())
        watcher.start()
        _announce(settings, classifier, pipeline.threshold, dry_run=dry_run)
        return _run(loop, once=once)


def _journal(path: Path, *, dry_run: bool) -> Journal:
    """The journal, with what a crash left half done put right; a dry run only looks at one that is there."""
    if dry_run:
        return Journal(path if path.exists() else None)
    journal = Journal(path)
    found = replay(journal)
    if found:
        outcome = ", ".join(f"{count} {state.value}" for state, count in found.items())
        logger.warning("the last run was cut off; its unfinished filings: {}", outcome)
    return journal


def _watcher(settings: Settings, classifier: Classifier) -> InboxWatcher:
    return InboxWatcher(
        settings.watch,
        exclude=_not_inbox(settings, classifier),
        settle_seconds=settings.settle_seconds,
        rescan_seconds=settings.rescan_seconds,
        poll=settings.poll,
        recursive=settings.recursive,
    )


def _make(folder: Path, key: str, *, dry_run: bool) -> None:
    if dry_run:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{key}: the folder {folder} cannot be made: {error.strerror}") from error


def _not_inbox(settings: Settings, classifier: Classifier) -> list[Path]:
    """What lies in an inbox but is not of it: the output, or where they are one folder, the folders filed into."""
    if settings.output not in settings.watch:
        return [settings.output]
    return [settings.output / name for name in (*classifier.classes, settings.others_dir, settings.quarantine_dir)]


def _run(loop: WorkLoop, *, once: bool) -> int:
    if once:
        left = loop.run_once()
        logger.info("done: {}", summary(loop))
        return EXIT_LEFT_BEHIND if left else 0
    loop.run()
    logger.info("stopped: {}", summary(loop))
    return 0


def summary(loop: WorkLoop) -> str:
    """How many images had which outcome."""
    return ", ".join(f"{count} {status.value}" for status, count in loop.counts.items()) or "no image came"


def _announce(settings: Settings, classifier: Classifier, threshold: float, *, dry_run: bool) -> None:
    """Say in plain words what is watched, with which model, and where images go."""
    metadata = classifier.metadata
    names: Sequence[str] = metadata.classes
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    logger.info("watching {}", ", ".join(map(str, settings.watch)))
    if metadata.settings.get("starter"):
        logger.info(
            "model: the starter model ({}), since nothing is published in {}", metadata.mode, settings.checkpoint
        )
    else:
        logger.info("model: {}, checkpoint {} from {}", metadata.mode, classifier.digest[:12], settings.checkpoint)
    logger.info("classes: {}", shown)
    verb = {"move": "moving", "copy": "copying", "link": "linking"}[settings.action]
    logger.info(
        "{} images to {}/<class>/, those under {:.2f} to {}/, unreadable files to {}/",
        f"a dry run, not {verb}" if dry_run else verb,
        settings.output,
        threshold,
        settings.others_dir,
        settings.quarantine_dir,
    )
    logger.info("ready; stop with Ctrl-C")


if __name__ == "__main__":
    sys.exit(run(main))
