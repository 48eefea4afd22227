"""``python -m daemon resort``: move filed images to where another checkpoint files them, or list what would move.

Only images that lie where the journal says they were filed last are classified. One that a person has moved since,
put another file in place of, or labelled otherwise stays. So does one that the checkpoint is unsure of, or that is
unknown to it. This process decodes and classifies; the moves are made in small lots, by the daemon where one runs.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

from daemon import config
from daemon.commands.calling import operate
from daemon.commands.filters import FiledOutput, add_place, instant, place_again
from daemon.commands.resort_plan import (
    GONE,
    STAYS,
    PlannedMove,
    ResortPlanner,
    ResortResult,
)
from daemon.commands.stopping import stopped_by_signals
from daemon.files.outputs import place_in
from daemon.filing.filer import Status
from daemon.filing.outcome import Outcome
from daemon.filing.status import describe
from daemon.journal.history import Wanted
from daemon.journal.journal import read_labels
from daemon.journal.records import State, new_run
from daemon.monitoring.logs import start_logging
from daemon.monitoring.messages import shown, some
from daemon.operations.desk import Item
from daemon.operations.resort import LABELLED, ResortMove, ResortParams
from models.text.commandline import EXIT_LEFT_BEHIND, Parser, print_json
from models.text.invocation import spelled
from models.text.language import mark, tr

#: Images that are planned until they are moved together.
LOT = 32


def main(arguments: list[str]) -> int:
    """Sort anew what was filed; returns the exit code."""
    options = _parser().parse_args(arguments)
    place = FiledOutput(options)
    flags = {
        key: value
        for key in ("output", "state_dir", "threshold", "cache_dir")
        if (value := getattr(options, key)) is not None
    }
    settings = config.load(flags, options.config)
    start_logging("WARNING", as_json=False)
    labels = {label.sha256: label.label for label in read_labels(place.journal)}
    stopped = threading.Event()
    with ExitStack() as held:
        sorter = ResortPlanner(settings, Path(options.checkpoint), place.roots, labels, place.filings)
        held.callback(sorter.close)
        moves = None if options.dry_run else _Moves(place, sorter)
        filings = place.filings(Wanted(since=options.since, states=[State.DONE]))
        others = settings.output / settings.others_dir if options.only_others else None
        held.enter_context(stopped_by_signals(stopped))
        try:
            _resort(sorter.plan(filings, others, stopped.is_set), moves, sorter.result, stopped.is_set)
        except Exception:
            if sorter.result.moved:  # the daemon was stopped in the middle, for example
                _show(sorter, moves, options)
            raise
    _show(sorter, moves, options)
    if stopped.is_set():
        raise KeyboardInterrupt(
            tr(
                "stopped; images that were moved: {count}; the same command goes on with the others",
                count=0 if moves is None else len(sorter.result.moved),
            )
        )
    return EXIT_LEFT_BEHIND if sorter.result.failed else 0


def _resort(
    planned: Iterator[PlannedMove], moves: _Moves | None, result: ResortResult, stopping: Callable[[], bool]
) -> None:
    """Make the planned moves, or note them for a dry run; when stopped, no other lot is begun."""
    if moves is None:
        result.moved += [one.outcome for one in planned]
        return
    moves.make([])  # where nothing can be moved now, that is said before all images are classified
    while (lot := list(islice(planned, LOT))) and not stopping():
        moves.make(lot)


def _show(sorter: ResortPlanner, moves: _Moves | None, options: argparse.Namespace) -> None:
    if options.json:
        print_json(_record(sorter.result, sorter, moves))
        return
    _print(sorter.result, sorter, moves)
    if moves is not None and sorter.result.moved:
        undo = spelled("python -m daemon undo") + f" --run {moves.run}{place_again(options)}"
        print(tr("To take it back: {command}", command=undo))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon resort",
        description=tr(
            "Move filed images to where another checkpoint files them. What a person has moved "
            "or labelled stays, and so does what the checkpoint would send to the others. The daemon may run."
        ),
    )
    add = parser.add_argument
    add(
        "--checkpoint",
        required=True,
        metavar="PATH",
        help=tr("checkpoint file, run folder, or folder the trainer publishes to"),
    )
    add(
        "--since",
        type=instant,
        metavar="DAY",
        help=tr("only images filed from that day on (2026-11-23, today, yesterday, or with a time)"),
    )
    add("--only-others", action="store_true", help=tr("only images that were filed to the others, and lie there still"))
    add("--only-unsure", dest="only_others", action="store_true", help=argparse.SUPPRESS)  # its earlier name
    add("--threshold", metavar="P", help=tr('less probable images stay: 0 to 1, or "auto"'))
    add("--cache-dir", metavar="DIR", help=tr("for weights and graphs"))
    add("--dry-run", action="store_true", help=tr("show what would be done, and change nothing"))
    add("--json", action="store_true", help=tr("print the result as JSON"))
    add_place(parser)
    return parser


class _Moves:
    """Makes the moves of one resort, all under the name of one run."""

    def __init__(self, place: FiledOutput, sorter: ResortPlanner) -> None:
        self._place = place
        self._digest = sorter.classifier.digest
        self._result = sorter.result
        self.run = new_run()

    def make(self, lot: Sequence[PlannedMove]) -> None:
        """Move a lot of images, and count what became of them. Raises `UserError`."""
        moves = tuple(
            ResortMove(filing=one.filing, label=one.label, confidence=one.confidence, is_rolled_up=one.is_rolled_up)
            for one in lot
        )
        outcomes = {one.filing: one.outcome for one in lot}
        for item in operate(self._place, "resort", ResortParams(moves=moves, digest=self._digest, run=self.run)):
            if item:
                self._count(outcomes[int(str(item["filing"]))], item)

    def _count(self, outcome: Outcome, item: Item) -> None:
        if item["outcome"] == LABELLED:
            self._result.stay[LABELLED] += 1
        elif item["destination"] is not None:
            moved = replace(outcome, status=Status.FILED, destination=Path(str(item["destination"])))
            self._result.moved.append(moved)
        elif item["outcome"] == Status.GONE:
            self._result.stay[GONE] += 1
        else:
            status, why = Status(str(item["outcome"])), str(item["error"])
            self._result.failed.append(replace(outcome, status=status, destination=None, detail=why))


def _print(result: ResortResult, sorter: ResortPlanner, moves: _Moves | None) -> None:
    for outcome in result.moved:
        names = {"name": _from(outcome, sorter.paths.outputs), "place": shown(outcome.place)}
        line = tr("{name} would go to {place}", **names) if moves is None else "{name} -> {place}".format(**names)
        if outcome.action == "tag":
            says = mark("{name} would be tagged {label}") if moves is None else mark("{name} is tagged {label}")
            line = tr(says, name=names["name"], label=outcome.label)
        print(f"{line} ({outcome.confidence:.2f})")
    for outcome in result.failed:
        why = outcome.detail or describe(outcome.status)
        print(tr("not moved: {source}: {error}", source=_from(outcome, sorter.paths.outputs), error=why))
    for (old, new), count in sorter.pairs():
        print(f"{count:7}  {shown(old)} -> {shown(new)}")
    values: dict[str, object] = {
        "count": len(result.moved),
        "digest": sorter.classifier.digest[:12],
        "stay": ", ".join(tr(text, count=count) for why, text in STAYS.items() if (count := result.stay[why]))
        or tr("none"),
    }
    own = sorted(sorter.threshold.rule.own.items())
    values["unsure"] = tr("unsure under {threshold:.2f}", threshold=sorter.threshold.value)
    if own:
        classes = some([f"{shown(label)} {limit.threshold:.2f}" for label, limit in own])
        values["unsure"] = tr("{unsure}; by rules of classes: {classes}", unsure=values["unsure"], classes=classes)
    if moves is None:
        print(tr("{count} would move by checkpoint {digest} ({unsure}); stay: {stay}", **values))
    else:
        print(tr("{count} moved by checkpoint {digest} ({unsure}); stay: {stay}", **values))


def _from(outcome: Outcome, outputs: Sequence[Path]) -> str:
    return shown(place_in(outcome.path, outputs))


def _record(result: ResortResult, sorter: ResortPlanner, moves: _Moves | None) -> dict[str, object]:
    return {
        "checkpoint": sorter.classifier.digest,
        "threshold": sorter.threshold.value,
        "run": None if moves is None else moves.run,
        "images": [_image(outcome) for outcome in (*result.moved, *result.failed)],
        "pairs": [{"from": old, "to": new, "images": count} for (old, new), count in sorter.pairs()],
        "stay": {why: count for why in STAYS if (count := result.stay[why])},
    }


def _image(outcome: Outcome) -> dict[str, object]:
    return {
        "file": str(outcome.path),
        "destination": None if outcome.destination is None else str(outcome.destination),
        "class": outcome.label,
        "confidence": round(outcome.confidence or 0.0, 6),
        "status": outcome.status.value,
        "error": outcome.detail,
    }
