"""``python -m daemon undo`` and ``retry``: bring images back to where they came from."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from daemon.commands.exclusive import hold, open_journal
from daemon.commands.filters import FiledOutput, add_place, add_which, count, wanted
from daemon.commands.history import print_json, record
from daemon.filing.corrections import Corrections
from daemon.filing.status import Status
from daemon.filing.undo import Undone, undo
from daemon.filing.unjournaled import reason_folders, unjournaled_images
from daemon.journal.history import Wanted
from daemon.journal.journal import JournalBusy
from daemon.journal.records import Filing, State
from daemon.monitoring.logs import start_logging
from daemon.monitoring.messages import quoted, shown
from models.errors import REASONS, UserError
from models.text.commandline import EXIT_LEFT_BEHIND, Parser
from models.text.language import tr

_DONE = frozenset({Status.FILED, Status.PLANNED, Status.ALREADY})


def undo_main(arguments: list[str]) -> int:
    """Take back what was filed; returns the exit code."""
    parser = _parser("undo", tr("Move filed images back to where they came from, newest first; replace nothing there."))
    parser.add_argument("--last", type=count, metavar="N", help=tr("the newest N of them"))
    add_which(parser)
    options = parser.parse_args(arguments)
    if all(getattr(options, name) is None for name in ("file", "since", "run", "checkpoint", "last")):
        raise UserError(tr("say what to undo: --last N, --file NAME, --since DAY, --run RUN or --checkpoint DIGEST"))
    place = FiledOutput(options)

    def which() -> Iterator[Filing]:
        return place.filings(wanted(options, place.journal, states=[State.DONE], as_written=True), options.last)

    return _bring_back(place, options, which, tr("nothing that is filed matches"))


def retry_main(arguments: list[str]) -> int:
    """Bring quarantined images back, to be classified again; returns the exit code."""
    parser = _parser(
        "retry",
        tr(
            "Move quarantined images back to where they came from, so that they are tried again at the next start; "
            "those that the journal does not know go by the note beside them, or into the inbox."
        ),
    )
    parser.add_argument("--reason", action="append", metavar="REASON", help=tr("only those of quarantine/REASON"))
    options = parser.parse_args(arguments)
    place = FiledOutput(options, without_journal=True)
    reasons = options.reason or ()
    quarantine = place.settings.output / place.settings.quarantine_dir
    known_reasons = sorted({*REASONS, *(folder.name for folder in reason_folders(quarantine))})
    for reason in reasons:
        if reason not in known_reasons:
            raise UserError(
                tr("there is no reason '{reason}': give one of {names}", reason=reason, names=", ".join(known_reasons))
            )
    nothing = tr("there is no image that could not be read")
    if reasons:
        nothing = tr(
            "no image could not be read for this reason; the reasons are {names}",
            names=", ".join(known_reasons),
        )

    def which() -> Iterator[Filing]:
        known = set()
        for filing in place.filings(Wanted(reasons=reasons, states=[State.DONE, State.REFUSED])):
            known.add(filing.destination)
            yield filing
        yield from unjournaled_images(quarantine, place.settings.watch, known, reasons, place.roots)

    return _bring_back(place, options, which, nothing)


def _parser(command: str, description: str) -> Parser:
    parser = Parser(prog=f"python -m daemon {command}", description=description)
    parser.add_argument("--dry-run", action="store_true", help=tr("show what would be done, and change nothing"))
    parser.add_argument("--json", action="store_true", help=tr("print a list of objects as JSON"))
    add_place(parser)
    return parser


def _bring_back(
    place: FiledOutput, options: argparse.Namespace, which: Callable[[], Iterator[Filing]], nothing: str
) -> int:
    """Bring images back; ``nothing`` is what to print where there is none."""
    start_logging("WARNING", as_json=False)
    with ExitStack() as closing:
        journal = None if options.dry_run else open_journal(place, closing)
        filings = list(which())
        if journal is not None:
            hold(place, _inboxes(place, filings), closing)
        corrections = Corrections(place.settings.output)
        results = _results(undo(journal, filings, place.roots), corrections, str if options.json else _quoted)
        left = 0
        if options.json:
            outcomes = list(results)
            left = sum(undone.status not in _DONE for undone, _ in outcomes)
            print_json(_record(undone, text) for undone, text in outcomes)
        elif filings:
            left = _print(results, place.settings.output, dry_run=options.dry_run)
        else:
            print(shown(nothing))
    return EXIT_LEFT_BEHIND if left else 0


def _inboxes(place: FiledOutput, filings: Sequence[Filing]) -> list[Path]:
    """Return the inboxes that images go back to, as far as they are this daemon's."""
    return [
        inbox
        for inbox in place.settings.watch
        if inbox != place.settings.output and any(filing.source.is_relative_to(inbox) for filing in filings)
    ]


def _results(
    undone: Iterator[Undone], corrections: Corrections, name: Callable[[Path], str]
) -> Iterator[tuple[Undone, str]]:
    """Yield each outcome with a sentence about it, in which ``name`` writes the paths. Raises `UserError`."""
    try:
        for result in undone:
            yield result, _sentence(result, corrections, name)
    except JournalBusy as error:
        raise UserError(
            tr("the journal cannot be used now ({error}): run this again for what is left", error=error)
        ) from error


def _sentence(undone: Undone, corrections: Corrections, name: Callable[[Path], str]) -> str:
    filing = undone.filing
    source = name(filing.source)
    if filing.state is State.REFUSED or filing.destination is None:
        return tr("{source} will be classified again", source=source)
    destination = name(filing.destination)
    match undone.status:
        case Status.FILED if undone.destination is not None:
            return f"{destination} -> {name(undone.destination)}"
        case Status.PLANNED if undone.destination is not None:
            return tr("{name} would go to {place}", name=destination, place=name(undone.destination))
        case Status.FILED:
            return tr("{name} is removed; the original is {source}", name=destination, source=source)
        case Status.PLANNED:
            return tr("{name} is to be removed; the original is {source}", name=destination, source=source)
        case Status.GONE:
            corrected = corrections.find(filing)
            if corrected is None:
                return tr("{name} is no longer there", name=destination)
            return tr(
                "{name} was corrected: somebody moved it to {place}, and there it stays",
                name=destination,
                place=name(corrected),
            )
        case Status.CHANGED if filing.action == "move":
            return tr("{name} is another file now, and stays", name=destination)
        case Status.CHANGED:
            return tr(
                "{name} stays: {source} is no longer there with the same content", name=destination, source=source
            )
        case _:
            return undone.error or tr("{name} was undone already", name=destination)


def _quoted(path: Path) -> str:
    return quoted(str(path))


def _record(undone: Undone, text: str) -> dict[str, object]:
    back = None if undone.destination is None else str(undone.destination)
    return record(undone.filing) | {"outcome": undone.status.value, "back": back, "says": text}


def _print(results: Iterator[tuple[Undone, str]], output: Path, *, dry_run: bool) -> int:
    """Print a line for each filing; returns how many were left."""
    done = left = back_in_inbox = 0
    for undone, text in results:
        ok = undone.status in _DONE
        done, left = done + ok, left + (not ok)
        # What resort had moved came from a class folder. An inbox may be the output itself.
        is_from_class_folder = output in undone.filing.source.parent.parents
        back_in_inbox += ok and not is_from_class_folder
        print(shown(text) if ok else tr("left: {sentence}", sentence=text))
    counts = {"done": done, "left": left}
    if dry_run and left:
        print(tr("{done} would go back, {left} left", **counts))
    elif dry_run:
        print(tr("{done} would go back", **counts))
    elif left:
        print(tr("{done} went back, {left} left", **counts))
    else:
        print(tr("{done} went back", **counts))
    if back_in_inbox and not dry_run:
        print(tr("A daemon started on their inbox now files them again."))
    return left
