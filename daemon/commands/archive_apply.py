"""``python -m daemon archive apply``: file the images of an archive by its manifest."""

from __future__ import annotations

import argparse
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

from daemon import config
from daemon.archiving.applying import Applied
from daemon.archiving.decided import Decided, Folders, read_decided
from daemon.archiving.equals import later_equals
from daemon.archiving.local_filing import LocalFiling
from daemon.archiving.manifest import require_manifest
from daemon.archiving.shards import hold_for_applying
from daemon.archiving.stored_filing import StoredFiling
from daemon.archiving.stores import is_url, local_path
from daemon.commands.filters import probability
from daemon.commands.options import add_settings
from daemon.commands.stopping import stopped_by_signals
from daemon.config import Settings
from daemon.filing.filer import Action
from daemon.filing.status import Status
from daemon.monitoring.logs import start_logging
from daemon.monitoring.progress import Count
from models.text.commandline import EXIT_LEFT_BEHIND, Parser, print_json
from models.text.invocation import spelled
from models.text.language import mark, tr
from models.text.printable import shown

#: What is said of images that are neither filed now nor left behind.
_ALSO = {
    Status.ALREADY: mark("{count:9}  filed there before"),
    Status.REFUSED: mark("{count:9}  not images, or damaged: they stay where they are"),
    Status.HELD: mark("{count:9}  held: an undo brought them back"),
}

#: Options that are settings of the daemon too, under these names.
_SHARED = ("others_dir", "quarantine_dir", "layout", "state_dir", "language", "log_level")


def main(arguments: list[str]) -> int:
    """File by a manifest; returns the exit code."""
    options = _parser().parse_args(arguments)
    flags = {key: value for key in _SHARED if (value := getattr(options, key, None)) is not None}
    here = local_path(options.output) if is_url(options.output) else Path(options.output)
    settings = config.load(flags if here is None else flags | {"output": here}, getattr(options, "config", None))
    manifest = options.manifest.absolute()
    require_manifest(manifest)
    start_logging(settings.log_level, as_json=settings.log_json)
    applied = Applied()
    stopped = threading.Event()
    with hold_for_applying(manifest), stopped_by_signals(stopped):
        images = chain.from_iterable(
            read_decided(
                manifest, Folders(others=settings.others_dir, quarantine=settings.quarantine_dir), options.threshold
            )
        )
        run = _apply(settings, here, options, _counted(images), applied, stopped.is_set)
    if options.json:
        print_json(
            {
                "run": run,
                "folders": applied.folders,
                "statuses": {status.value: count for status, count in applied.statuses.items()},
                "unread": applied.unread,
                "left": applied.left,
            }
        )
    else:
        for line in _lines(applied, options, None if options.dry_run else run):
            print(line)
    if stopped.is_set():
        raise KeyboardInterrupt(tr("stopped; the same command goes on with the rest"))
    return EXIT_LEFT_BEHIND if applied.left else 0


def _apply(
    settings: Settings,
    here: Path | None,
    options: argparse.Namespace,
    images: Iterable[Decided],
    applied: Applied,
    stopping: Callable[[], bool],
) -> str | None:
    """File the images; return the name of the run in the journal, where there is one."""
    action: Action = options.action
    if here is not None:
        config.check_output(settings)
        with closing(LocalFiling(settings, action, applied, dry_run=options.dry_run)) as local:
            local.file(images, stopping)
            return local.run
    equals = later_equals(options.manifest.absolute())
    with closing(StoredFiling(options.output, action, applied, equals, dry_run=options.dry_run)) as stored:
        stored.file(images, stopping)
    return None


def _counted(images: Iterable[Decided]) -> Iterator[Decided]:
    """Say once a minute how far the job is."""
    progress = Count()
    for done, image in enumerate(images):
        progress.update(done)
        yield image


def _lines(applied: Applied, options: argparse.Namespace, run: str | None) -> Iterator[str]:
    count = applied.statuses[Status.FILED] + applied.statuses[Status.PLANNED]
    if options.dry_run:
        yield tr("{count} images would be filed into {output}", count=count, output=options.output)
    else:
        yield tr("{count} images filed into {output}", count=count, output=options.output)
    for name, number in applied.folders.most_common():
        yield f"{number:9}  {shown(name)}"
    for status, template in _ALSO.items():
        if number := applied.statuses[status]:
            yield tr(template, count=number)
    if applied.unread:
        yield tr("{count:9}  could not be read when they were archived: archive again", count=applied.unread)
    if left := applied.left - applied.unread:
        yield tr("{count:9}  left behind (see the lines above)", count=left)
    place = f" --output {shlex.quote(str(options.output))}"
    if (state := getattr(options, "state_dir", None)) is not None:
        place += f" --state-dir {shlex.quote(str(state))}"
    if applied.statuses[Status.HELD]:
        yield tr("To have what is held filed: {command}", command=f"{spelled('python -m daemon release')} --all{place}")
    if run is not None and count:
        undo = f"{spelled('python -m daemon undo')} --run {run}{place}"
        yield tr("To take it back: {command}", command=undo)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon archive apply",
        description=tr(
            "File the images of a manifest into class folders. On this machine they are copied, moved or linked as the "
            "daemon does, and undo takes that back; in a bucket the server copies them, and each copy is verified. The "
            "same command goes on where it was stopped. What has changed since is not touched."
        ),
    )
    add = parser.add_argument
    add("manifest", type=Path, metavar="DIR", help=tr("folder of the manifest"))
    add("--output", required=True, metavar="OUT", help=tr("where class folders are made: a folder, or a URL"))
    action = add("--action", choices=("copy", "move", "link"), default="copy")
    action.help = tr("what to do with the images (copy)")
    add(
        "--threshold",
        type=probability,
        metavar="P",
        help=tr("decide anew: less probable images go to others/ (as they were archived)"),
    )
    add("--dry-run", action="store_true", help=tr("show what would be done, and change nothing"))
    add("--json", action="store_true", help=tr("print the result as JSON"))
    add_settings(parser, only=_SHARED)
    return parser
