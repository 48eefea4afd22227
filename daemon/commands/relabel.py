"""``python -m daemon relabel``: move images to the folder of the class that a person says, and keep what was said."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from daemon import config
from daemon.commands.answers import Answer
from daemon.commands.calling import operate
from daemon.commands.filters import FiledOutput, add_place, place_again
from daemon.filing.status import Status
from daemon.journal.records import new_run
from daemon.monitoring.logs import start_logging
from daemon.operations.classes import class_folders
from daemon.operations.desk import Operation
from daemon.operations.relabel import CONFIRMED, DONE, RelabelParams
from daemon.operations.selection import GivenName
from models.errors import UserError
from models.text.commandline import EXIT_LEFT_BEHIND, Parser
from models.text.completion import offer
from models.text.invocation import spelled
from models.text.language import mark, tr

#: Names of one call: a line of the protocol has room for a few thousand.
_AT_ONCE = 500


class _Relabelling:
    """The calls of one command, which are one run, and the counts of what they have done so far."""

    def __init__(self, place: FiledOutput, options: argparse.Namespace) -> None:
        self._place, self._options = place, options
        self.run = new_run()
        self.moved = self.tagged = self.confirmed = 0

    def operation(self) -> Operation:
        """Relabel all images, and yield an item for each."""
        options, names = self._options, [GivenName.here(name) for name in self._options.files]
        for start in range(0, len(names), _AT_ONCE):
            params = RelabelParams(
                files=tuple(names[start : start + _AT_ONCE]),
                to=_class_name(options.label, self._place.settings.output),
                new=options.new,
                dry_run=options.dry_run,
                as_json=options.json,
                run=self.run,
            )
            for item in operate(self._place, "relabel", params):
                if item.get("outcome") in (Status.FILED, Status.PLANNED):
                    stays = item["destination"] == item["file"]
                    self.moved, self.tagged = self.moved + (not stays), self.tagged + stays
                self.confirmed += item.get("outcome") == CONFIRMED
                yield item
        return {}


def main(arguments: list[str]) -> int:
    """Relabel images; returns the exit code."""
    options = _parser().parse_args(arguments)
    place = FiledOutput(options, by_daemon=True)
    start_logging("WARNING", as_json=False)
    relabelling = _Relabelling(place, options)

    def summary(answer: Answer) -> Iterator[str]:
        yield _counted(relabelling, answer.left, dry_run=options.dry_run)
        if not options.dry_run and (relabelling.moved or relabelling.tagged):
            undo = spelled("python -m daemon undo") + f" --run {relabelling.run}{place_again(options)}"
            yield tr("To take it back: {command}", command=undo)

    answer = Answer(relabelling.operation(), DONE)
    answer.print(as_json=options.json, summary=summary)
    return EXIT_LEFT_BEHIND if answer.left else 0


def _counted(done: _Relabelling, left: int, *, dry_run: bool) -> str:
    counts = {"moved": done.moved, "tagged": done.tagged, "confirmed": done.confirmed, "left": left}
    if not done.tagged:
        moved = (
            mark("{moved} would move, {confirmed} already there, {left} not done"),
            mark("{moved} moved, {confirmed} already there, {left} not done"),
        )
        return tr(moved[not dry_run], **counts)
    tagged = (
        mark("{moved} would move, {tagged} would be tagged, {confirmed} already so, {left} not done"),
        mark("{moved} moved, {tagged} tagged, {confirmed} already so, {left} not done"),
    )
    return tr(tagged[not dry_run], **counts)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon relabel",
        description=tr(
            "Move filed images to the folder of another class, with their sidecars, and keep that as a label: what you "
            "say of an image counts more than what any model says. An image that lies there already is only labelled. "
            "The daemon may run."
        ),
    )
    add = parser.add_argument
    add(
        "files",
        nargs="+",
        metavar="FILE",
        help=tr("a path, or the end of one as the history prints it, or a name that only one image has"),
    )
    label = add(
        "label", metavar="CLASS", help=tr('its class, or "others" (as that folder is called) for none of the classes')
    )
    offer(label, _class_names)
    add("--new", action="store_true", help=tr("the class may be a new one, whose folder is made"))
    add("--dry-run", action="store_true", help=tr("show what would be done, and change nothing"))
    add("--json", action="store_true", help=tr("print a list of objects as JSON"))
    add_place(parser)
    return parser


def _class_names(options: argparse.Namespace) -> list[str]:
    """List the names of class folders, for the Tab key."""
    try:
        given = {} if options.output is None else {"output": options.output}
        settings = config.load(given, options.config)
    except UserError:
        return []
    return [*class_folders(settings), settings.others_dir]


def _class_name(given: str, output: Path) -> str:
    """Take the name of a class; it may be the path of its folder, as the Tab key completes it."""
    path = Path(given)
    if "/" in given.rstrip("/"):
        place = path.parent.resolve() / path.name
        if place != output and place.is_relative_to(output):
            return str(place.relative_to(output))
    return given.rstrip("/") or given
