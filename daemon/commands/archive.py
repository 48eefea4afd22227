"""``python -m daemon archive``: classify an archive into a manifest, without touching an image."""

from __future__ import annotations

import threading
from argparse import ArgumentTypeError
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path

from daemon import config
from daemon.commands.options import add_settings
from daemon.commands.stopping import stopped_by_signals
from daemon.files.capabilities import keep_from_children
from daemon.files.descriptors import allow_open_files
from daemon.monitoring.logs import start_logging
from daemon.monitoring.progress import Count
from models.errors import UserError
from models.text.commandline import EXIT_LEFT_BEHIND, Parser, print_json
from models.text.language import mark, tr, trn
from models.text.spelling import closest

#: Options that are settings of the daemon too, under these names.
SHARED = (
    "checkpoint",
    "threshold",
    "language",
    "batch_size",
    "threads",
    "device",
    "precision",
    "plugins",
    "cache_dir",
    "log_level",
)

OUTCOMES = {
    "sure": mark("{count:9}  sure of their class"),
    "rolled up": mark("{count:9}  sure of the folder above their class only"),
    "unsure": mark("{count:9}  unsure"),
    "unknown": mark("{count:9}  unknown: unlike anything the model was taught"),
    "quarantine": mark("{count:9}  not images, or damaged"),
    "unread": mark("{count:9}  could not be read this time; the same command tries them again"),
}


def main(arguments: list[str]) -> int:
    """Archive, or apply a manifest or report on it; returns the exit code."""
    require_arrow()
    parts = {"apply": "archive_apply", "report": "archive_report"}
    if arguments[:1] and arguments[0] in parts:
        from importlib import import_module

        return int(import_module(f"daemon.commands.{parts[arguments[0]]}").main(arguments[1:]))
    _refuse_misspelled(arguments, parts)
    return _archive(arguments)


def _refuse_misspelled(arguments: Sequence[str], parts: Collection[str]) -> None:
    """Raise `UserError` for a misspelled ``apply`` or ``report``, which would be taken for the images."""
    first = next(iter(arguments), "-")
    near = None if first.startswith("-") or Path(first).exists() else closest(first, parts)
    if near is not None:
        raise UserError(tr("there is no folder {given}: did you mean archive {near}?", given=first, near=near))


def require_arrow() -> None:
    """Raise `UserError` where what reads and writes manifests is not installed."""
    if find_spec("pyarrow") is None:
        raise UserError(
            tr("archives need a package that is not installed: install it with pip install '.[archive]' in the clone")
        )


def _archive(arguments: list[str]) -> int:
    from daemon.archiving.job import Job
    from daemon.archiving.shards import Shard

    options = _parser().parse_args(arguments)
    flags = {key: value for key in SHARED if (value := getattr(options, key, None)) is not None}
    settings = config.load(flags, getattr(options, "config", None))
    shard = Shard.parse(options.shard)
    start_logging(settings.log_level, as_json=settings.log_json)
    allow_open_files()
    keep_from_children()
    if options.engine == "ray":
        from models.cluster.connection import require_ray

        require_ray()
    job = Job(settings, options.input, options.manifest, shard, options.engine)
    stopped = threading.Event()
    with stopped_by_signals(stopped):
        count = Count()
        job.run(stopped.is_set, lambda tally: count.update(tally.looked_at))
    tally = job.tally
    if options.json:
        print_json(
            {
                "manifest": str(options.manifest),
                "looked_at": tally.looked_at,
                "known": tally.known,
                "outcomes": dict(tally.outcomes),
                "folders_not_read": tally.unreadable,
                "not_files": tally.not_files,
            }
        )
    else:
        _print(tally.looked_at, tally.known, tally.outcomes, tally.unreadable)
    if stopped.is_set():
        raise KeyboardInterrupt(
            tr("stopped; images looked at: {count}; the same command goes on with the rest", count=tally.looked_at)
        )
    return EXIT_LEFT_BEHIND if tally.unreadable or tally.outcomes["unread"] else 0


def _print(looked_at: int, known: int, outcomes: dict[str, int], unreadable: int) -> None:
    print(tr("{count} images looked at; the manifest knew {known} others already", count=looked_at, known=known))
    for outcome, template in OUTCOMES.items():
        if count := outcomes.get(outcome):
            print(tr(template, count=count))
    if unreadable:
        print(
            trn(
                "{count:9}  folder that cannot be read (see the lines above)",
                "{count:9}  folders that cannot be read (see the lines above)",
                unreadable,
            )
        )


def _folder(text: str) -> Path:
    from daemon.archiving.stores import local_path

    folder = local_path(text)
    if folder is None:
        raise ArgumentTypeError(tr("'{text}' is no folder of this machine, on which the manifest is kept", text=text))
    return folder


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon archive",
        description=tr(
            "Classify the images of a folder or a bucket, and write what was found into a manifest of Parquet files; "
            "no image is touched. What the manifest knows already is not read again. Then `archive report DIR` counts, "
            "and `archive apply DIR --output OUT` files."
        ),
    )
    add = parser.add_argument
    add("input", metavar="INPUT", help=tr("the images: a folder, or a URL such as s3://bucket/folder"))
    manifest = add("--manifest", type=_folder, required=True, metavar="DIR")
    manifest.help = tr("folder of the manifest, made or added to")
    add("--engine", choices=("local", "ray"), default="local").help = tr(
        "where the images are classified: on this machine, or on the Ray cluster that it belongs to (local)"
    )
    add("--shard", default="1/1", metavar="I/N", help=tr("only that part of the images, for N processes or machines"))
    add("--json", action="store_true", help=tr("print the result as JSON"))
    add_settings(parser, only=SHARED)
    return parser
