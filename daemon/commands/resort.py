"""``python -m daemon resort``: move filed images to where another checkpoint files them, or list what would move.

Only images that lie where the journal says they were filed last are classified. One that a person has moved since, or
put another file in place of, stays. So does one that the checkpoint is unsure of, or that
is unknown to it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from daemon import config
from daemon.commands.exclusive import open_journal
from daemon.commands.filters import FiledOutput, add_place, instant, place_again
from daemon.config import Settings
from daemon.decoding.decoder import Decoded
from daemon.files.class_mounts import ClassMounts
from daemon.files.roots import OpenFolders, Roots
from daemon.filing.corrections import Corrections
from daemon.filing.filer import Decision, Filer, Status
from daemon.filing.identity import image_key, is_as_filed, took_over_from
from daemon.filing.outcome import Outcome
from daemon.filing.status import describe
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal
from daemon.journal.records import Filing, State
from daemon.monitoring.logs import start_logging
from daemon.monitoring.messages import shown
from daemon.pipeline import Pipeline, Policy
from daemon.reloading.loader import check_names
from daemon.state import journal_path, state_folder
from models.allowed import allow_plugins
from models.classifier import Prediction, open_classifier
from models.decision import Fate
from models.runtime import cores
from models.text.commandline import EXIT_LEFT_BEHIND, Parser, print_json
from models.text.invocation import spelled
from models.text.language import mark, tr
from models.weights import WeightsStore

#: Why an image stays: as JSON has it, and for people.
AGREES, UNSURE, UNKNOWN = "same class", "unsure", "unknown"
PLACED, GONE, UNREADABLE = "moved by hand", "not there any more", "unreadable"
_STAYS = {
    AGREES: mark("{count} same class"),
    UNSURE: mark("{count} unsure"),
    UNKNOWN: mark("{count} unknown"),
    PLACED: mark("{count} moved by hand"),
    GONE: mark("{count} not there any more"),
    UNREADABLE: mark("{count} unreadable"),
}


@dataclass
class Result:
    """Images that moved or would move, the number of others by the reason why they stay, and those that failed."""

    moved: list[Outcome] = field(default_factory=list)
    stay: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def pairs(self) -> list[tuple[tuple[str, str], int]]:
        """Count how many images go from which class folder to which, the largest number first."""
        return Counter((outcome.path.parent.name, _class(outcome)) for outcome in self.moved).most_common()


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
    with ExitStack() as held:
        journal = None if options.dry_run else open_journal(place, held)
        sorter = _Sorter(settings, Path(options.checkpoint), journal, place.roots)
        held.callback(sorter.close)
        filings = place.filings(Wanted(since=options.since, states=[State.DONE]))
        others = settings.output / settings.others_dir if options.only_others else None
        result = sorter.sort(filings, others)
    if options.json:
        print_json(_record(result, sorter, journal))
    else:
        _print(result, sorter, journal)
        if journal is not None and result.moved:
            undo = spelled("python -m daemon undo") + f" --run {journal.run}{place_again(options)}"
            print(tr("To take it back: {command}", command=undo))
    return EXIT_LEFT_BEHIND if result.failed else 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon resort",
        description=tr(
            "Move filed images to where another checkpoint files them. What a person has moved "
            "stays, and so does what the checkpoint would send to the others. The daemon must be stopped "
            "meanwhile, but for --dry-run."
        ),
    )
    add = parser.add_argument
    add("--checkpoint", required=True, metavar="PATH", help=tr("checkpoint file, run folder, or folder of runs"))
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


class _Sorter:
    """A checkpoint and the means to file by it; without a journal nothing is moved."""

    def __init__(self, settings: Settings, checkpoint: Path, journal: Journal | None, roots: Roots) -> None:
        allow_plugins(settings.plugins)
        threads = settings.threads or cores()
        self.classifier = open_classifier(
            checkpoint,
            WeightsStore(settings.cache_dir),
            threads=threads,
            precision=settings.precision,
            device=settings.device,
        )
        check_names(checkpoint, self.classifier.classes, (settings.others_dir, settings.quarantine_dir))
        self._output = settings.output
        self._roots = roots
        self._filer = Filer(
            settings.output,
            journal=journal,
            dry_run=journal is None,
            roots=roots,
            class_mounts=ClassMounts(journal_path(state_folder(settings.state_dir), settings.output).parent),
        )
        self._pipeline = Pipeline(
            self.classifier,
            self._filer,
            Policy.from_settings(settings),
            threads=threads,
            roots=roots,
            decide=self._decide,
        )
        self.threshold = self._pipeline.threshold
        self.close = self._pipeline.close
        self._result = Result()

    def sort(self, filings: Iterator[Filing], only_in: Path | None) -> Result:
        """Classify what was filed (all, or what lies in one folder), newest first; move what belongs elsewhere."""
        result = self._result
        for outcome in self._pipeline.process(
            _where_last_filed(filings, only_in, self._output, self._roots, result.stay)
        ):
            if outcome.status in (Status.FILED, Status.PLANNED):
                result.moved.append(outcome)
            elif outcome.prediction is not None:
                result.failed.append(outcome)
            else:
                result.stay[GONE] += 1
        return result

    def _decide(self, decoded: Decoded, prediction: Prediction | None) -> Decision | None:
        """Move what the checkpoint is sure of elsewhere; what stays is counted."""
        if prediction is None or decoded.source is None:
            self._result.stay[UNREADABLE] += 1
        elif prediction.label == decoded.path.parent.name:
            self._result.stay[AGREES] += 1
        elif (fate := self.threshold.fate(prediction)) is not Fate.SURE:
            self._result.stay[UNSURE if fate is Fate.UNSURE else UNKNOWN] += 1
        else:
            return Decision(
                source=decoded.source,
                folder=prediction.label,
                fate=fate,
                label=prediction.label,
                confidence=prediction.confidence,
                model_digest=self.classifier.digest,
            )
        return None


def _where_last_filed(
    filings: Iterator[Filing], only_in: Path | None, output: Path, roots: Roots, stay: Counter[str]
) -> Iterator[Path]:
    """Yield the images that lie where they were filed last, and count the others by why they stay."""
    corrections = Corrections(output)
    images: set[tuple[object, ...]] = set()
    filed_on: dict[Path, list[Filing]] = {}  # by earlier runs of this command, and where from
    for filing in filings:
        if filing.source.is_relative_to(output):
            filed_on.setdefault(filing.source, []).append(filing)
        if filing.destination is None or filing.reason is not None or image_key(filing) in images:
            continue  # filed again since: where it was before says nothing
        images.add(image_key(filing))
        if any(took_over_from(filing, newer) for newer in filed_on.get(filing.destination, ())):
            continue
        if only_in not in (None, filing.folder):
            continue
        if _is_as_filed_at(filing, filing.destination, roots):
            yield filing.destination
        elif corrections.find(filing) is not None:
            stay[PLACED] += 1
        else:
            stay[GONE] += 1


def _is_as_filed_at(filing: Filing, path: Path, roots: Roots) -> bool:
    """Whether the file of a filing lies at a path, as it was."""
    try:
        with OpenFolders(roots) as folders:
            return is_as_filed(folders.entry(path), filing)
    except OSError:
        return False


def _print(result: Result, sorter: _Sorter, journal: Journal | None) -> None:
    for outcome in result.moved:
        assert outcome.prediction is not None
        names = {"name": _from(outcome), "place": _to(outcome)}
        line = tr("{name} would go to {place}", **names) if journal is None else "{name} -> {place}".format(**names)
        print(f"{line} ({outcome.prediction.confidence:.2f})")
    for outcome in result.failed:
        why = outcome.detail or describe(outcome.status)
        print(tr("left: {source}: {error}", source=_from(outcome), error=why))
    for (old, new), count in result.pairs():
        print(f"{count:7}  {shown(old)} -> {shown(new)}")
    values = {
        "count": len(result.moved),
        "digest": sorter.classifier.digest[:12],
        "threshold": sorter.threshold.value,
        "stay": ", ".join(tr(_STAYS[why], count=count) for why, count in result.stay.items() if count) or tr("none"),
    }
    if journal is None:
        print(tr("{count} would move by checkpoint {digest} (unsure under {threshold:.2f}); stay: {stay}", **values))
    else:
        print(tr("{count} moved by checkpoint {digest} (unsure under {threshold:.2f}); stay: {stay}", **values))


def _from(outcome: Outcome) -> str:
    return shown("/".join(outcome.path.parts[-2:]))


def _to(outcome: Outcome) -> str:
    assert outcome.destination is not None
    return shown("/".join(outcome.destination.parts[-2:]))


def _class(outcome: Outcome) -> str:
    assert outcome.prediction is not None
    return outcome.prediction.label


def _record(result: Result, sorter: _Sorter, journal: Journal | None) -> dict[str, object]:
    return {
        "checkpoint": sorter.classifier.digest,
        "threshold": sorter.threshold.value,
        "run": None if journal is None else journal.run,
        "images": [_image(outcome) for outcome in (*result.moved, *result.failed)],
        "pairs": [{"from": old, "to": new, "images": count} for (old, new), count in result.pairs()],
        "stay": {why: count for why, count in result.stay.items() if count},
    }


def _image(outcome: Outcome) -> dict[str, object]:
    assert outcome.prediction is not None
    return {
        "file": str(outcome.path),
        "destination": None if outcome.destination is None else str(outcome.destination),
        "class": outcome.prediction.label,
        "confidence": round(outcome.prediction.confidence, 6),
        "status": outcome.status.value,
        "error": outcome.detail,
    }
