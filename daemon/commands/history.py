"""``python -m daemon history``: what was filed, when, where and why, and what people said of it since."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from daemon.commands.filters import FiledOutput, add_place, add_which, count, end, probability, which
from daemon.files.outputs import output_of, place_in
from daemon.filing.class_paths import ClassPaths
from daemon.filing.whereabouts import Location, Whereabouts
from daemon.journal.journal import read_held, read_labels
from daemon.journal.labels import How, Label, WantedLabels
from daemon.journal.records import Filing, State
from daemon.monitoring.messages import quoted, shown
from daemon.operations.classes import class_paths, nothing_of_class
from daemon.operations.selection import Which, record
from models.text.commandline import Parser, print_json_list
from models.text.language import mark, tr

#: How a filing in another state than done is described.
_DESCRIPTIONS = {
    State.COPIED: mark("not finished: {filing}"),
    State.UNDONE: mark("undone: {filing}"),
    State.REFUSED: mark("left where it is: {filing}"),
    State.LEFT: mark("left where it is: {filing}"),
    State.ORPHAN: mark("lost track of: {filing}"),
}
#: How an image came to where it lies now, by the way in which a person labelled it.
_MOVED_BY = {
    How.MOVED: mark("{filing}, corrected to {folder}"),
    How.PLACED: mark("{filing}, corrected to {folder}"),
    How.RELABELLED: mark("{filing}, relabelled to {folder}"),
    How.REVIEWED: mark("{filing}, reviewed, and moved to {folder}"),
    How.AUDITED: mark("{filing}, audited, and moved to {folder}"),
}
#: Filings whose labels are read together.
_AT_ONCE = 100


class _Entry(NamedTuple):
    """A filing, where its image lies now, what a person said of it, if anybody did, and whether it is held."""

    filing: Filing
    now: Location
    label: Label | None
    is_held: bool


def main(arguments: list[str]) -> int:
    """Print the history; returns the exit code."""
    options = _parser().parse_args(arguments)
    place = FiledOutput(options)
    paths = class_paths(place.settings)
    whereabouts = Whereabouts(paths, place.journal)
    label = None if options.label is None else unicodedata.normalize("NFC", options.label)  # as all classes are
    wanted = Which(**which(options)).wanted(
        place.filings,
        label=label,
        or_with_inode=() if label is None else whereabouts.inodes_in(label),
        until=options.until,
        min_confidence=options.min_confidence,
        max_confidence=options.max_confidence,
    )
    located: Iterator[tuple[Filing, Location]] = (
        (filing, whereabouts.locate(filing)) for filing in place.filings(wanted)
    )
    if label == place.settings.others_dir:  # no class is called that
        located = ((filing, now) for filing, now in located if whereabouts.lies_in(now, label))
    elif label is not None:
        located = ((filing, now) for filing, now in located if whereabouts.is_of(filing, now, label))
    entries = _entries(place.journal, islice(located, options.limit))
    if options.json:
        print_json_list(_record(entry) for entry in entries)
    else:
        printed = _print(entries, paths, place.settings.others_dir)
        if not printed:
            print(nothing_of_class(tr("nothing that was filed matches"), label, place.settings, paths))
    return 0


def _entries(journal: Path, located: Iterator[tuple[Filing, Location]]) -> Iterator[_Entry]:
    held = frozenset(image.filing_id for image in read_held(journal))
    while some := list(islice(located, _AT_ONCE)):
        hashes = [filing.sha256 for filing, _ in some if filing.sha256 is not None]
        labels = {label.sha256: label for label in read_labels(journal, WantedLabels(sha256=hashes))}
        for filing, now in some:
            yield _Entry(filing, now, labels.get(filing.sha256 or ""), filing.id in held)


def _parser() -> Parser:
    parser = Parser(prog="python -m daemon history", description=tr("Show what was filed, newest first."))
    add_which(parser)
    add = parser.add_argument
    add("--until", type=end, metavar="DAY", help=tr("only up to the end of that day, or to a time"))
    add(
        "--class",
        dest="label",
        metavar="NAME",
        help=tr(
            'only images that the model or a person gave this class; "others" (as that folder is called) for '
            "what lies there"
        ),
    )
    add("--min-confidence", type=probability, metavar="P", help=tr("only with at least this probability, 0 to 1"))
    add("--max-confidence", type=probability, metavar="P", help=tr("only with at most this probability, 0 to 1"))
    add("--limit", type=count, metavar="N", help=tr("only the newest N"))
    add("--json", action="store_true", help=tr("print a list of objects as JSON"))
    add_place(parser)
    return parser


def _record(entry: _Entry) -> dict[str, object]:
    label, now = entry.label, entry.now.path
    said = None
    if label is not None:
        time = label.time.isoformat(timespec="milliseconds")
        said = {"id": label.id, "class": label.label, "how": label.how.value, "time": time}
    return record(entry.filing) | {
        "now": None if now is None else str(now),
        "held": entry.is_held,
        "label": said,
    }


def _print(entries: Iterable[_Entry], paths: ClassPaths, others: str) -> bool:
    """Print the filings by run; returns whether there are any."""
    run = None
    for entry in entries:
        if entry.filing.run != run:
            run = entry.filing.run
            print(tr("run {run}", run=run))
        print(f"  {entry.filing.time.astimezone():%Y-%m-%d %H:%M:%S}  {_described(entry, paths, others)}")
    return run is not None


def _described(entry: _Entry, paths: ClassPaths, others: str) -> str:
    """Describe a filing, and what became of the image since where it does not lie where it was filed."""
    filing, now, label, is_held = entry
    text = sentence(filing, paths.outputs)
    if filing.state is State.UNDONE and is_held:
        return tr("undone, held: {filing}", filing=text)
    if filing.state in _DESCRIPTIONS:
        return tr(_DESCRIPTIONS[filing.state], filing=text)
    if filing.state is not State.DONE:
        return text
    if now.path is None and now.known:
        return tr("{filing}, no longer there", filing=text)
    if now.path is None:
        return tr("{filing}, no longer there; where it is now is not known", filing=text)
    if filing.action == "tag":
        return text if label is None else tr(_said_of_tag(filing, label), filing=text, label=label.label)
    if now.path == filing.destination and (label is None or output_of(now.path, paths.outputs) is None):
        return text
    folder = quoted(place_in(now.path.parent, paths.outputs))
    if now.corrected:
        return tr("{filing}, corrected to {folder}", filing=text, folder=folder)
    if label is not None:
        what = tr("none of the classes") if label.label is None else label.label
        return tr(_said(filing, now.path, label, paths, others), filing=text, folder=folder, label=what)
    return tr("{filing}, now in {folder}", filing=text, folder=folder)


def _said(filing: Filing, path: Path, label: Label, paths: ClassPaths, others: str) -> str:
    """Choose the sentence about a filing whose image a person has labelled."""
    lies_in = paths.of_image(path)
    if (label.label or others) != lies_in:
        return mark("{filing}, labelled {label}")
    if filing.destination is None or paths.of_image(filing.destination) != lies_in:
        return _MOVED_BY[label.how]
    is_filed_by_a_person = filing.confidence is None and label.how is How.RELABELLED
    return mark("{filing}, relabelled") if is_filed_by_a_person else mark("{filing}, confirmed")


def _said_of_tag(filing: Filing, label: Label) -> str:
    """Choose the sentence about an image that was tagged, and that a person has labelled."""
    if label.label is None:
        return mark("{filing}, labelled as none of the classes")
    if filing.destination is not None and label.label == filing.label:
        return mark("{filing}, relabelled") if filing.confidence is None else mark("{filing}, confirmed")
    return mark("{filing}, labelled {label}")


def sentence(filing: Filing, outputs: Sequence[Path]) -> str:
    """Describe a filing in short: ``cat.jpg -> cat/cat.jpg (cat 0.93, 1a2b3c4d5e6f)``."""
    name = quoted(filing.source.name)
    why = filing.reason if filing.duplicate_of is None else filing.detail
    if why is None and filing.confidence is not None:
        model = f", {filing.model_digest[:12]}" if filing.model_digest else ""
        why = f"{filing.label} {filing.confidence:.2f}{model}{f', {filing.detail}' if filing.detail else ''}"
    where = "" if filing.destination is None else f" -> {quoted(_place(filing, outputs))}"
    if filing.action == "tag" and filing.reason is None:
        tagging = mark("{name}, not tagged") if filing.destination is None else mark("{name}, tagged {label}")
        name, where = tr(tagging, name=name, label=filing.label), ""
    return f"{name}{where}" + (f" ({shown(why)})" if why else "")


def _place(filing: Filing, outputs: Sequence[Path]) -> str:
    """Say where an image was filed: below one of the outputs, or below what was the output then."""
    place = filing.destination
    assert place is not None
    if output_of(place, outputs) is not None:
        return place_in(place, outputs)
    return "/".join(place.parts[-3 if filing.reason is not None else -2 :])
