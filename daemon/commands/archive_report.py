"""``python -m daemon archive report``: count what a manifest has, and make contact sheets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from daemon import config
from daemon.archiving.counting import THRESHOLDS, Counts, count
from daemon.archiving.manifest import require_manifest
from daemon.commands.archive import OUTCOMES
from daemon.commands.options import add_settings
from daemon.config import Settings
from daemon.monitoring.logs import start_logging
from models.text.commandline import Parser, print_json
from models.text.language import tr
from models.text.printable import shown

_SHARED = ("others_dir", "threads", "language", "log_level")


def main(arguments: list[str]) -> int:
    """Report on a manifest; returns the exit code."""
    options = _parser().parse_args(arguments)
    flags = {key: value for key in _SHARED if (value := getattr(options, key, None)) is not None}
    settings = config.load(flags, getattr(options, "config", None))
    start_logging(settings.log_level, as_json=settings.log_json)
    manifest = options.manifest.absolute()
    require_manifest(manifest)
    counts = count(manifest)
    if options.json:
        print_json(counts.as_json())
    else:
        for line in _lines(counts):
            print(line)
    if options.sheets is not None:
        _make_sheets(manifest, options.sheets, settings, as_json=options.json)
    return 0


def _lines(counts: Counts) -> Iterator[str]:
    yield tr("{count} images in the manifest", count=counts.images)
    for outcome, template in OUTCOMES.items():
        if number := counts.outcomes[outcome]:
            yield tr(template, count=number)
    for title, numbers in (
        (tr("by class:"), counts.classes.most_common()),
        (tr("not filed, by reason:"), counts.reasons.most_common()),
        (tr("by the month in which they were taken:"), sorted(counts.months.items())),
    ):
        if numbers:
            yield title
            yield from (f"{number:9}  {shown(name)}" for name, number in numbers)
    if counts.pictures:
        yield tr("with another threshold (archive apply --threshold) into the folder of their class:")
        for value in THRESHOLDS:
            share = counts.in_class[value] / counts.pictures
            yield tr("{count:9}  {share:.1%} with {value:g}", count=counts.in_class[value], share=share, value=value)


def _make_sheets(manifest: Path, folder: Path, settings: Settings, *, as_json: bool) -> None:
    from daemon.archiving.sheets import SheetMaker, least_sure

    made = 0
    with closing(SheetMaker(settings)) as maker:
        for name, uris in least_sure(manifest, settings.others_dir).items():
            made += bool(maker.make(uris, folder / f"{name.replace('/', '_')}.jpg"))
    if not as_json:
        print(tr("{count} contact sheets in {folder}, the least sure images first", count=made, folder=folder))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon archive report",
        description=tr(
            "Count the images of a manifest by class, outcome and month, and say what another threshold would change. "
            "No image is read, but for contact sheets."
        ),
    )
    add = parser.add_argument
    add("manifest", type=Path, metavar="DIR", help=tr("folder of the manifest"))
    add(
        "--sheets",
        type=Path,
        metavar="FOLDER",
        help=tr("make a contact sheet there for each folder, of the images that the model was least sure of"),
    )
    add("--json", action="store_true", help=tr("print the result as JSON"))
    add_settings(parser, only=_SHARED)
    return parser
