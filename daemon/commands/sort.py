"""``python -m daemon sort``: copy the images of a folder into class folders, once, or tag them where they lie."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain
from pathlib import Path

from loguru import logger

from daemon import config
from daemon.commands.options import add_settings
from daemon.commands.stopping import stopped_by_signals
from daemon.config import Settings
from daemon.decoding.launcher import Launcher
from daemon.decoding.pool import DecoderPool
from daemon.files import copying, writers
from daemon.files.marker import is_marked
from daemon.files.roots import Roots
from daemon.files.walk import walk
from daemon.files.writers import Writer
from daemon.filing.bursts import in_order_of_shots
from daemon.filing.duplicates import Duplicates
from daemon.filing.filer import Filer, Status
from daemon.filing.folder_layout import FolderLayout
from daemon.filing.outcome import Outcome
from daemon.filing.outcomes import not_a_file
from daemon.filing.status import describe
from daemon.filing.stray_names import StrayNames
from daemon.journal.journal import Journal
from daemon.monitoring.logs import start_logging
from daemon.monitoring.messages import fields, line, shown
from daemon.monitoring.progress import Progress, bar_fits
from daemon.pipeline import ModelFailed, Pipeline
from daemon.reloading.loader import CheckpointOpener, CheckpointOptions, ComingClassifier
from daemon.reloading.pipeline_settings import PipelineSettings
from daemon.state import refuse_inbox_at_work
from daemon.watching.skipped import Skipped
from models.allowed import allow_plugins
from models.classifier import Classifier
from models.decoding.images import Transform
from models.errors import UserError
from models.inference.runtime import cores
from models.text.commandline import EXIT_LEFT_BEHIND, Parser
from models.text.jsontext import json_text
from models.text.language import tr, trn
from models.weights.store import WeightsStore

#: Of a file that was written longer ago, other processes are not searched for who has it open.
_FRESH_SECONDS = 3600.0

_SORTED = frozenset({Status.FILED, Status.ALREADY, Status.LEFT})

#: Options that are settings of the daemon too, under these names.
_SHARED = (
    "checkpoint",
    "others_dir",
    "duplicates",
    "duplicates_dir",
    "burst_seconds",
    "layout",
    "language",
    "batch_size",
    "threads",
    "device",
    "precision",
    "plugins",
    "cache_dir",
    "log_level",
)


def main(arguments: list[str], launcher: Launcher) -> int:
    """Sort one folder; returns the exit code."""
    options = parser().parse_args(arguments)
    flags = {key: value for key in _SHARED if (value := getattr(options, key, None)) is not None}
    is_tagging = options.action == "tag"
    if options.output_dir is None and not is_tagging:
        raise UserError(tr("say with --output-dir where class folders are to be made"))
    output = options.input_dir if is_tagging else options.output_dir
    flags |= {"output": output, "threshold": options.threshold, "action": options.action}
    settings = config.load(flags, getattr(options, "config", None))
    if not is_tagging:
        config.check_output(settings)
    if not options.input_dir.is_dir():
        raise UserError(
            tr(
                "--input-dir {input_dir} is not a folder: give the folder whose images are to be sorted",
                input_dir=options.input_dir,
            )
        )
    if not is_tagging and settings.output.exists() and settings.output.samefile(options.input_dir):
        raise UserError(
            tr(
                "--input-dir and --output-dir are the same folder, {folder}: the copies would lie among their "
                "originals; give another --output-dir, such as {example}",
                folder=shown(str(settings.output)),
                example=shown(str(settings.output / "sorted")),
            )
        )
    start_logging(settings.log_level, as_json=settings.log_json)
    folder = options.input_dir.resolve()
    refuse_inbox_at_work(folder)
    skipped = Skipped(str(folder))
    foreign = _count_foreign(settings.output) if folder in settings.output.resolve().parents else 0
    progress = Progress(shows_bar=bar_fits(as_json=options.json, log_json=settings.log_json))
    stopped = threading.Event()
    with stopped_by_signals(stopped), closing(progress):
        outcomes, left = sort(folder, settings, launcher, skipped, progress, stopped.is_set)
    _print_summary(outcomes, settings, skipped, foreign, as_json=options.json)
    if stopped.is_set():
        raise KeyboardInterrupt(
            tr(
                "stopped; images done: {done}, left: {left}; the same command goes on with them",
                done=len(outcomes),
                left=left,
            )
        )
    complete = not skipped.unreadable and all(outcome.status in _SORTED for outcome in outcomes)
    return 0 if complete else EXIT_LEFT_BEHIND


def parser() -> Parser:
    """Make the parser of the command's options."""
    parser = Parser(
        prog="python -m daemon sort",
        description=tr(
            "Copy the images of a folder, and of the folders in it, into class folders, once. An image that lies "
            "unchanged in the class folder where an earlier run put it is not copied again."
        ),
    )
    add = parser.add_argument
    add("--input-dir", type=Path, required=True, metavar="DIR", help=tr("the images"))
    add("--output-dir", type=Path, metavar="DIR", help=tr("where class folders are made"))
    add(
        "--action",
        choices=("copy", "tag"),
        default="copy",
        help=tr("tag: write the class into the XMP sidecar of each image, which stays where it is (%(default)s)"),
    )
    add(
        "--threshold",
        default=0.0,
        metavar="P",
        help=tr('less probable images go to others/: 0 to 1, or "auto" (0.0)'),
    )
    add_settings(parser, only=_SHARED)
    add("--json", action=argparse.BooleanOptionalAction, default=False, help=tr("print the result as JSON"))
    return parser


def sort(
    folder: Path,
    settings: Settings,
    launcher: Launcher,
    skipped: Skipped,
    progress: Progress,
    stopping: Callable[[], bool],
) -> tuple[list[Outcome], int]:
    """Copy every image below ``folder``; returns their outcomes, and how many have none since it was told to stop.

    Unreadable ones are left alone. ``skipped`` counts what is not looked at, and folders that cannot be read.
    """
    allow_plugins(settings.plugins)
    threads = settings.threads or cores()
    # All that rules say but layouts is the service's.
    rules = settings.class_rules.all_into(settings.output, "tag" if settings.action == "tag" else "copy")
    pipeline_settings = replace(PipelineSettings.from_settings(settings), rules=None)
    outcomes = []
    with ExitStack() as stack:
        decoders = DecoderPool(threads, pipeline_settings.limits, launcher)
        stack.callback(decoders.close)
        classifier = ComingClassifier(lambda on_transforms: _open(settings, pipeline_settings, on_transforms))
        stack.callback(classifier.close)
        roots = Roots([folder, settings.output])
        journal = Journal(None)
        stack.callback(journal.close)
        for _ in StrayNames([folder], settings.output, journal, purposes=("part", "place")).steps():
            pass  # an earlier run that was killed left copies half made
        filer = Filer(
            settings.output,
            journal=journal,
            skip_equal=settings.action != "tag",
            roots=roots,
            layout=FolderLayout(settings.layout, [folder]),
            duplicates=Duplicates(settings.duplicates, settings.duplicates_dir),
            rules=rules,
        )
        pipeline = Pipeline(classifier, filer, pipeline_settings, threads=threads, decoders=decoders, roots=roots)
        stack.callback(pipeline.close)
        not_files: list[Outcome] = []
        images = sorted(_images(folder, settings.output, skipped, not_files))
        if pipeline_settings.burst_seconds:
            images = in_order_of_shots(images, roots)
        total = len(not_files) + len(images)
        progress.update(0, total)
        stack.enter_context(copying.reporting_to(lambda: None, stopping))
        for outcome in chain(not_files, _outcomes(pipeline, images, stopping)):
            if outcome.status is Status.STOPPED:
                continue
            log = logger.bind(**fields(outcome))
            if outcome.status is Status.FILED:
                log.info("{}", line(outcome))
            elif outcome.status is Status.LEFT:
                log.info("{}", tr("{path} is not copied: {detail}", path=outcome.path, detail=outcome.detail))
            elif outcome.status is Status.ALREADY:
                log.info("{}", tr("{path} is there already", path=outcome.path))
            else:
                why = outcome.detail or describe(outcome.status)
                log.warning("{}", tr("{path} is left behind: {detail}", path=outcome.path, detail=why))
            outcomes.append(outcome)
            progress.update(len(outcomes), total - len(outcomes))
        if not stopping():
            classifier.wait()
    return outcomes, total - len(outcomes)


def _open(
    settings: Settings, pipeline_settings: PipelineSettings, on_transforms: Callable[[Sequence[Transform]], None]
) -> Classifier:
    options = replace(CheckpointOptions.from_settings(settings), batch=0)
    opener = CheckpointOpener(options, WeightsStore(settings.cache_dir))
    published = options.source.find_or_raise() or opener.starter()
    classifier = opener.open(published.path, published.digest, None, on_transforms)
    threshold = pipeline_settings.threshold_for(classifier.metadata)
    logger.info("{}", threshold)
    if threshold.rolled_up:
        logger.info("{}", threshold.rolled_up)
    return classifier


def _outcomes(pipeline: Pipeline, paths: Iterable[Path], stopping: Callable[[], bool]) -> Iterator[Outcome]:
    """Yield what became of each image. Raises what kept the classifier from being loaded."""
    written: list[Path] = []
    try:
        yield from pipeline.process(_unopened(paths, written), stopping=stopping)
    except ModelFailed as failed:
        raise failed.error from None
    for path in written:
        yield Outcome(path=path, status=Status.CHANGED, detail=tr("a program has it open for writing"))


def _unopened(paths: Iterable[Path], written: list[Path]) -> Iterator[Path]:
    """Yield the images that no program is known to have open for writing; add the others to ``written``."""
    for path in paths:
        if writers.of_path(str(path), search_processes=_is_fresh(path)) is Writer.PRESENT:
            written.append(path)
        else:
            yield path


def _is_fresh(path: Path) -> bool:
    """Whether a file was written lately, so that looking for who has it open is worth some milliseconds."""
    try:
        return abs(time.time() - path.lstat().st_mtime) < _FRESH_SECONDS
    except OSError:
        return False


def _images(folder: Path, output: Path, skipped: Skipped, not_files: list[Outcome]) -> Iterator[Path]:
    """Yield the unsorted image files below a folder; add what only has the name of one to ``not_files``."""
    root, filed = str(folder), str(output.resolve())

    def failed(inside: str, error: OSError) -> None:
        skipped.unreadable += 1
        logger.warning(tr("{inside} cannot be read: {reason}", inside=inside, reason=error.strerror))

    entries = walk(
        [root],
        recursive=True,
        enter=lambda inside: inside == root or inside != filed,
        failed=failed,
        not_a_file=lambda path, what: not_files.append(not_a_file(Path(path), what)),
        other=skipped.meet,
        leftover=lambda inside: skipped.meet_leftover(inside),
    )
    return (Path(os.fsdecode(entry.path)) for entry in entries if entry is not None)


def _count_foreign(output: Path) -> int:
    """Count the images in an output that were not filed into its class folders."""
    entries = walk(
        [str(output)],
        recursive=True,
        enter=lambda inside: inside == str(output) or not is_marked(inside),
        failed=lambda *_: None,
        not_a_file=lambda *_: None,
    )
    return sum(entry is not None for entry in entries)


def _print_summary(
    outcomes: list[Outcome], settings: Settings, skipped: Skipped, foreign: int, *, as_json: bool
) -> None:
    output = settings.output
    filed = [outcome for outcome in outcomes if outcome.status is Status.FILED and outcome.destination]
    folders = Counter(outcome.folder for outcome in filed if outcome.folder is not None)
    left = [outcome for outcome in outcomes if outcome.status not in _SORTED]
    if as_json:
        encoding = sys.stdout.encoding
        rows = ",\n".join(f"  {json_text(_row(outcome), encoding=encoding)}" for outcome in outcomes)
        head = {
            "output": str(output),
            "folders": folders,
            "not_looked_at": skipped.count + skipped.raw_files + foreign,
            "folders_not_read": skipped.unreadable,
            "left_alone": skipped.leftovers.pictures,
        }
        sys.stdout.write(f'{json_text(head, encoding=encoding)[:-1]}, "images": [\n{rows}\n]}}\n')
        return
    if settings.action == "tag":
        print(
            tr("{count} of {every} images tagged in {output}", count=_tagged(filed), every=len(outcomes), output=output)
        )
    else:
        print(tr("{count} of {every} images copied to {output}", count=len(filed), every=len(outcomes), output=output))
    for name, count in folders.most_common():
        print(f"{count:7}  {shown(name)}")
    duplicates = sum(outcome.status is Status.LEFT for outcome in outcomes)
    if already := len(outcomes) - len(filed) - len(left) - duplicates:
        print(tr("{already:7}  there already, equal and in the same folder", already=already))
    if duplicates:
        print(tr("{count:7}  not copied: duplicates", count=duplicates))
    if left:
        print(tr("{count:7}  left behind (see the lines above)", count=len(left)))
    if skipped.unreadable:
        print(
            trn(
                "{count:7}  folder that cannot be read (see the lines above)",
                "{count:7}  folders that cannot be read (see the lines above)",
                skipped.unreadable,
            )
        )
    if foreign:
        print(
            trn(
                "1 image in the output folder {output} was not looked at: this program did not file them",
                "{count} images in the output folder {output} were not looked at: this program did not file them",
                foreign,
                output=output,
            )
        )
    if skipped.count:
        print(skipped)
    if skipped.raw_files:
        print(skipped.about_raw_files)
    if skipped.leftovers.pictures:
        print(skipped.leftovers)


def _tagged(filed: list[Outcome]) -> int:
    return sum(outcome.fate is not None and outcome.fate.is_of_class for outcome in filed)


def _row(outcome: Outcome) -> dict[str, object]:
    return {
        "file": str(outcome.path),
        "status": outcome.status.value,
        "class": outcome.label,
        "confidence": None if outcome.confidence is None else round(outcome.confidence, 6),
        "destination": str(outcome.destination) if outcome.destination else None,
        "detail": outcome.detail,
    }
