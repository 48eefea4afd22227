"""``python -m daemon history``: what was filed, when, where and why."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

from daemon.commands.filters import FiledOutput, add_place, add_which, count, end, probability, wanted
from daemon.filing.whereabouts import Location, Whereabouts
from daemon.journal.journal import read_held
from daemon.journal.records import Filing, State
from daemon.monitoring.messages import quoted, shown
from daemon.operations.selection import record
from models.text.commandline import Parser
from models.text.jsontext import json_text
from models.text.language import mark, tr

#: How a filing is described that was not simply done.
_DESCRIPTIONS = {
    State.COPIED: mark("not finished: {filing}"),
    State.UNDONE: mark("undone: {filing}"),
    State.REFUSED: mark("left where it is: {filing}"),
    State.ORPHAN: mark("lost track of: {filing}"),
}


def main(arguments: list[str]) -> int:
    """Print the history; returns the exit code."""
    options = _parser().parse_args(arguments)
    place = FiledOutput(options)
    whereabouts = Whereabouts(place.settings.output, place.journal)
    label = None if options.label is None else unicodedata.normalize("NFC", options.label)  # as all classes are
    which = wanted(
        options,
        place.journal,
        label=label,
        or_with_inode=() if label is None else whereabouts.inodes_in(label),
        until=options.until,
        min_confidence=options.min_confidence,
        max_confidence=options.max_confidence,
    )
    located: Iterator[tuple[Filing, Location]] = (
        (filing, whereabouts.locate(filing)) for filing in place.filings(which)
    )
    if label is not None:
        located = ((filing, now) for filing, now in located if whereabouts.is_of(filing, now, label))
    located = islice(located, options.limit)
    held = frozenset(image.filing_id for image in read_held(place.journal))
    if options.json:
        print_json(
            record(filing) | {"now": None if now.path is None else str(now.path), "held": filing.id in held}
            for filing, now in located
        )
    else:
        _print(located, place.settings.output, held)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="python -m daemon history", description=tr("Show what was filed, newest first."))
    add_which(parser)
    add = parser.add_argument
    add("--until", type=end, metavar="DAY", help=tr("up to the end of that day, or to a time"))
    add(
        "--class",
        dest="label",
        metavar="NAME",
        help=tr("classified as this by the model, or moved to its folder by you"),
    )
    add("--min-confidence", type=probability, metavar="P", help=tr("of at least this probability, 0 to 1"))
    add("--max-confidence", type=probability, metavar="P", help=tr("of at most this probability, 0 to 1"))
    add("--limit", type=count, metavar="N", help=tr("only the newest N"))
    add("--json", action="store_true", help=tr("print a list of objects as JSON"))
    add_place(parser)
    return parser


def print_json(records: Iterable[dict[str, object]]) -> None:
    """Print a list, one object a line, as they come."""
    separator = "[\n"
    for entry in records:
        sys.stdout.write(separator + json_text(entry, encoding=sys.stdout.encoding))
        separator = ",\n"
    print("[]" if separator == "[\n" else "\n]")


def _print(located: Iterable[tuple[Filing, Location]], output: Path, held: Collection[int | None]) -> None:
    run = None
    for filing, now in located:
        if filing.run != run:
            run = filing.run
            print(tr("run {run}", run=run))
        print(f"  {filing.time.astimezone():%Y-%m-%d %H:%M:%S}  {_described(filing, now, output, held)}")
    if run is None:
        print(tr("nothing that was filed matches"))


def _described(filing: Filing, now: Location, output: Path, held: Collection[int | None]) -> str:
    """Describe a filing, and what became of the image since where it does not lie where it was filed."""
    text = sentence(filing)
    if filing.state is State.UNDONE and filing.id in held:
        return tr("undone, held: {filing}", filing=text)
    if filing.state in _DESCRIPTIONS:
        return tr(_DESCRIPTIONS[filing.state], filing=text)
    if filing.state is not State.DONE or now.path == filing.destination:
        return text
    if now.path is None and now.known:
        return tr("{filing}, no longer there", filing=text)
    if now.path is None:
        return tr("{filing}, no longer there; where it is now is not known", filing=text)
    folder = quoted(str(now.path.parent.relative_to(output)))
    if now.corrected:
        return tr("{filing}, corrected to {folder}", filing=text, folder=folder)
    return tr("{filing}, now in {folder}", filing=text, folder=folder)


def sentence(filing: Filing) -> str:
    """Describe a filing in short: ``cat.jpg -> cat/cat.jpg (cat 0.93, 1a2b3c4d5e6f)``."""
    name, why = quoted(filing.source.name), filing.reason
    if why is None and filing.confidence is not None:
        model = f", {filing.model_digest[:12]}" if filing.model_digest else ""
        why = f"{filing.label} {filing.confidence:.2f}{model}{f', {filing.detail}' if filing.detail else ''}"
    where = "" if filing.destination is None else f" -> {quoted(_place(filing))}"
    return f"{name}{where}" + (f" ({shown(why)})" if why else "")


def _place(filing: Filing) -> str:
    assert filing.destination is not None
    folders = 3 if filing.reason is not None else 2
    return "/".join(filing.destination.parts[-folders:])
