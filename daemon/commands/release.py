"""``python -m daemon release``: let held images be filed again."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.commands.answers import Answer
from daemon.commands.calling import operate
from daemon.commands.filters import FiledOutput, add_place
from daemon.monitoring.logs import start_logging
from daemon.operations.release import HELD, PLANNED, RELEASED, ReleaseParams
from daemon.operations.selection import GivenName
from models.errors import UserError
from models.text.commandline import EXIT_LEFT_BEHIND, Parser
from models.text.language import tr, trn


def main(arguments: list[str]) -> int:
    """Release held images; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.files and options.all:
        raise UserError(tr("say what to release: FILE..., or --all"))
    place = FiledOutput(options, by_daemon=True)
    files = tuple(GivenName.here(name) for name in options.files)
    params = ReleaseParams(files=files, all=options.all, dry_run=options.dry_run, as_json=options.json)
    start_logging("WARNING", as_json=False)
    answer = Answer(operate(place, "release", params), (RELEASED, PLANNED, HELD))
    if params.lists:
        answer.print(as_json=options.json, summary=_how_to_release)
        return 0
    answer.print(as_json=options.json, summary=lambda answer: _summary(answer, dry_run=options.dry_run))
    return EXIT_LEFT_BEHIND if answer.left else 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon release",
        description=tr(
            "Let images that undo brought back be filed again: at once if the daemon runs, else when it is "
            "started. Until then they are held in their inbox. Without FILE or --all, list them."
        ),
    )
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help=tr("held images: names, paths, or the ends of paths"))
    add("--all", action="store_true", help=tr("all that are held"))
    add("--dry-run", action="store_true", help=tr("show what would be done, and change nothing"))
    add("--json", action="store_true", help=tr("print a list of objects as JSON"))
    add_place(parser)
    return parser


def _how_to_release(answer: Answer) -> Iterator[str]:
    if not answer.done:
        yield tr("no image is held")
        return
    yield trn("1 image is held", "{count} images are held", answer.done)
    yield tr("They are filed again after python -m daemon release FILE..., or --all for all of them.")


def _summary(answer: Answer, *, dry_run: bool) -> Iterator[str]:
    counts = {"done": answer.done, "left": answer.left}
    if not answer.done and not answer.left:
        yield tr("no image is held")
    elif dry_run and answer.left:
        yield tr("{done} would be released, {left} would not", **counts)
    elif dry_run:
        yield tr("{done} would be released", **counts)
    elif answer.left:
        yield tr("{done} released, {left} not", **counts)
    else:
        yield tr("{done} released", **counts)
    if answer.done and not dry_run:
        yield tr("The daemon that watches their inbox files them, at once or when it is started.")
