"""Options that choose labels, and the operation that fetches these."""

from __future__ import annotations

import argparse

from daemon.commands.calling import operate
from daemon.commands.filters import FiledOutput, instant
from daemon.journal.labels import How
from daemon.operations.desk import Item, Result
from daemon.operations.labels import LabelsParams
from models.text.commandline import Parser
from models.text.language import tr


def all_labels(place: FiledOutput, params: LabelsParams) -> tuple[list[Item], Result]:
    """Fetch all labels before any is dealt with, since the daemon waits only so long until they have been read."""
    items: list[Item] = []
    operation = operate(place, "labels", params)
    while True:
        try:
            item = next(operation)
        except StopIteration as end:
            return items, dict(end.value)
        if item:
            items.append(item)


def conditions(options: argparse.Namespace, *, limit: int | None = None, as_json: bool = False) -> LabelsParams:
    """Return the parameters of the operation that lists labels."""
    how = None if options.how is None else tuple(map(How, options.how))
    return LabelsParams(label=options.label, how=how, since=options.since, limit=limit, as_json=as_json)


def add_conditions(parser: Parser) -> None:
    """Add the options that choose labels."""
    add = parser.add_argument
    add(
        "--label",
        metavar="CLASS",
        help=tr('only labels of this class; "others" (as that folder is called) for "none of the classes"'),
    )
    add(
        "--how",
        action="append",
        choices=[how.value for how in How],
        help=tr(
            "only labels given in this way: by moving or placing an image by hand, by relabel, on the review "
            "page, or in an audit"
        ),
    )
    add(
        "--since",
        type=instant,
        metavar="DAY",
        help=tr("only from that day on (2026-11-23, today, yesterday, or 2026-11-23T14:30)"),
    )
