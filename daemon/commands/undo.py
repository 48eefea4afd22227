"""``python -m daemon undo`` and ``retry``: bring images back to where they came from."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from daemon.commands.answers import Answer
from daemon.commands.calling import operate
from daemon.commands.filters import FiledOutput, add_place, add_which, count, place_again, which
from daemon.monitoring.logs import start_logging
from daemon.operations.desk import Operation
from daemon.operations.retry import RetryParams
from daemon.operations.returning import DONE
from daemon.operations.undo import UndoParams
from models.errors import UserError
from models.text.commandline import EXIT_LEFT_BEHIND, Parser
from models.text.invocation import spelled
from models.text.language import tr
from models.text.printable import quoted, shown


def undo_main(arguments: list[str]) -> int:
    """Take back what was filed; returns the exit code."""
    parser = _parser(
        "undo",
        tr(
            "Move filed images back to where they came from, newest first; replace nothing there. They are held there: "
            "the daemon leaves them alone until they change, are renamed or released."
        ),
    )
    parser.add_argument("--last", type=count, metavar="N", help=tr("the newest N"))
    add_which(parser)
    options = parser.parse_args(arguments)
    if all(getattr(options, name) is None for name in ("file", "since", "run", "checkpoint", "last")):
        raise UserError(tr("say what to undo: --last N, --file NAME, --since DAY, --run RUN or --checkpoint DIGEST"))
    place = FiledOutput(options, by_daemon=True)
    params = UndoParams(last=options.last, dry_run=options.dry_run, as_json=options.json, **which(options))

    def summary(answer: Answer) -> Iterator[str]:
        if not answer.done and not answer.left:
            yield _nothing(answer)
            return
        yield _counted(answer, dry_run=options.dry_run)
        if answer.result.get("held"):
            yield tr(
                "What is back in an inbox is held: it is not filed again until it changes, is renamed, or is released "
                "by {command}.",
                command=f"{spelled('python -m daemon release')}{place_again(options)}",
            )

    return _print(operate(place, "undo", params), options, summary)


def retry_main(arguments: list[str]) -> int:
    """Bring quarantined images back, to be classified again; returns the exit code."""
    parser = _parser(
        "retry",
        tr(
            "Move quarantined images back to where they came from, so that the daemon tries them again, now or when it "
            "is started; those that the journal does not know go by the note beside them, or into the inbox."
        ),
    )
    parser.add_argument("--reason", action="append", metavar="REASON", help=tr("only those of quarantine/REASON"))
    options = parser.parse_args(arguments)
    place = FiledOutput(options, without_journal=True, by_daemon=True)
    params = RetryParams(reasons=tuple(options.reason or ()), dry_run=options.dry_run, as_json=options.json)

    def summary(answer: Answer) -> Iterator[str]:
        if answer.done or answer.left:
            yield _counted(answer, dry_run=options.dry_run)
            if answer.result.get("in_inbox") and not options.dry_run:
                yield tr("The daemon that watches their inbox classifies them again, at once or when it is started.")
        elif params.reasons:
            names = answer.result["reasons"]
            assert isinstance(names, list)
            yield shown(
                tr(
                    "no image is in the quarantine for this reason; the possible reasons are {names}",
                    names=", ".join(map(str, names)),
                )
            )
        else:
            yield tr("there is no image that could not be read")

    return _print(operate(place, "retry", params), options, summary)


def _parser(command: str, description: str) -> Parser:
    parser = Parser(prog=f"python -m daemon {command}", description=description)
    parser.add_argument("--dry-run", action="store_true", help=tr("show what would be done, and change nothing"))
    parser.add_argument("--json", action="store_true", help=tr("print a list of objects as JSON"))
    add_place(parser)
    return parser


def _print(operation: Operation, options: argparse.Namespace, summary: Callable[[Answer], Iterator[str]]) -> int:
    """Print what comes of an operation; returns the exit code."""
    start_logging("WARNING", as_json=False)
    answer = Answer(operation, DONE)
    answer.print(as_json=options.json, summary=summary)
    return EXIT_LEFT_BEHIND if answer.left else 0


def _nothing(answer: Answer) -> str:
    left = answer.result.get("left_duplicates")
    if not isinstance(left, list) or not left:
        return tr("nothing that is filed matches")
    return tr(
        "nothing that is filed matches; to have the duplicate {name} looked at again, give its path: "
        "python -m daemon undo --file {name}",
        name=quoted(str(left[0])),
    )


def _counted(answer: Answer, *, dry_run: bool) -> str:
    counts = {"done": answer.done, "left": answer.left}
    if dry_run and answer.left:
        return tr("{done} would go back, {left} would stay", **counts)
    if dry_run:
        return tr("{done} would go back", **counts)
    if answer.left:
        return tr("{done} went back, {left} stayed", **counts)
    return tr("{done} went back", **counts)
