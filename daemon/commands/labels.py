"""``python -m daemon labels``: list what people said of images, take it back, or export the images as a data set."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from daemon.commands.answers import Answer
from daemon.commands.calling import operate
from daemon.commands.chosen_labels import add_conditions, all_labels, conditions
from daemon.commands.filters import FiledOutput, add_place, count
from daemon.monitoring.logs import start_logging
from daemon.monitoring.messages import shown
from daemon.operations.classes import nothing_of_class
from daemon.operations.desk import Item
from daemon.operations.labels import FORGOTTEN, ForgetParams
from daemon.operations.selection import GivenName
from models.errors import UserError
from models.text.commandline import EXIT_LEFT_BEHIND, Parser, print_json_list
from models.text.language import tr

LIST, FORGET, EXPORT = "list", "forget", "export"
ACTS = (LIST, FORGET, EXPORT)


def main(arguments: list[str]) -> int:
    """List labels, forget some of them or export their images; returns the exit code."""
    act, *rest = arguments or [LIST]
    if act == FORGET:
        return _forget(rest)
    if act == EXPORT:
        from daemon.commands import label_export

        return label_export.main(rest)
    return _list(rest if act == LIST else arguments)


def _list(arguments: Sequence[str]) -> int:
    options = _list_parser().parse_args(arguments)
    if options.act is not None:
        raise UserError(tr("write {act} first: python -m daemon labels {act} …", act=options.act))
    place = FiledOutput(options, by_daemon=True)
    start_logging("WARNING", as_json=False)
    params = conditions(options, limit=options.limit, as_json=options.json)
    items, _ = all_labels(place, params)
    if options.json:
        print_json_list(_record(item) for item in items)
    else:
        _print(items)
        if not items:
            print(nothing_of_class(tr("no label matches"), params.label, place.settings))
    return 0


def _list_parser() -> Parser:
    parser = Parser(
        prog="python -m daemon labels",
        description=tr(
            "Show what people said of images, newest first: the class of each image that somebody moved to another "
            "class folder, or relabelled. labels forget takes labels back; labels export makes a data set of them."
        ),
    )
    parser.add_argument(
        "act", nargs="?", choices=ACTS, metavar="list|forget|export", help=tr("what to do; list by default")
    )
    add_conditions(parser)
    parser.add_argument("--limit", type=count, metavar="N", help=tr("only the newest N"))
    parser.add_argument("--json", action="store_true", help=tr("print a list of objects as JSON"))
    add_place(parser)
    return parser


def _record(item: Item) -> Item:
    """Leave out what only an export needs."""
    return {key: value for key, value in item.items() if key not in ("inode", "size", "mtime_ns", "says")}


def _print(items: Sequence[Item]) -> None:
    for item in items:
        time = datetime.fromisoformat(str(item["time"])).astimezone()
        says = str(item["says"])
        if item["now"] is None:
            says = tr("{label}; no longer there", label=says)
        print(f"{item['id']:>7}  {time:%Y-%m-%d %H:%M:%S}  {shown(says)}")


def _forget(arguments: Sequence[str]) -> int:
    options = _forget_parser().parse_args(arguments)
    if not options.files and not options.id and options.last is None:
        raise UserError(tr("say which labels to forget: FILE, --id N or --last N"))
    place = FiledOutput(options, by_daemon=True)
    start_logging("WARNING", as_json=False)
    params = ForgetParams(
        files=tuple(GivenName.here(name) for name in options.files),
        ids=tuple(options.id or ()),
        last=options.last,
        as_json=options.json,
    )
    answer = Answer(operate(place, "forget", params), (FORGOTTEN,))
    answer.print(
        as_json=options.json,
        summary=lambda answer: iter(
            [tr("{forgotten} forgotten, {left} not done", forgotten=answer.done, left=answer.left)]
        ),
    )
    return EXIT_LEFT_BEHIND if answer.left else 0


def _forget_parser() -> Parser:
    parser = Parser(
        prog="python -m daemon labels forget",
        description=tr(
            "Take labels back, as if nobody had said anything of these images. They stay where they lie; undo moves "
            "them back."
        ),
    )
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help=tr("the label of this image: a path or a name, as for relabel"))
    add("--id", type=count, action="append", metavar="N", help=tr("the label of this number; labels shows them"))
    add("--last", type=count, metavar="N", help=tr("the newest N"))
    add("--json", action="store_true", help=tr("print a list of objects as JSON"))
    add_place(parser)
    return parser
