"""``python -m daemon resort``: what another checkpoint would file elsewhere, and its moving there.

Only images that lie where the journal says they were filed last are looked at. Where a person has moved one since, or
put another file in its place, the person is right, and it stays. So does one that the checkpoint is unsure of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from daemon import config
from daemon.alone import open_journal
from daemon.config import Settings
from daemon.corrections import Corrections
from daemon.filing import Decision, Filed, Filer, Status
from daemon.identity import is_filed
from daemon.journal import Journal
from daemon.logs import start_logging
from daemon.opening import check_names
from daemon.pipeline import Pipeline, Policy
from daemon.report import shown
from daemon.roots import OpenFolders, Roots
from daemon.rows import Filing, State, Wanted
from daemon.selection import Place, add_place, instant, place_again
from models.allowed import allow_plugins
from models.classifier import Prediction, open_classifier
from models.commandline import EXIT_LEFT_BEHIND, Parser, print_json
from models.invocation import spelled
from models.language import tr
from models.runtime import cores
from models.weights import WeightsStore

#: Why an image stays.
AGREES, UNSURE, PLACED, GONE, UNREADABLE = "same class", "unsure", "moved by hand", "not there any more", "unreadable"


@dataclass
class Result:
    """What came of it: the images that moved or would move, why others stay, and those that could not be moved."""

    moved: list[Filed] = field(default_factory=list)
    stay: Counter[str] = field(default_factory=Counter)
    failed: list[Filed] = field(default_factory=list)

    def pairs(self) -> list[tuple[tuple[str, str], int]]:
        """How many images go from which class folder to which, the largest number first."""
        ways = ((filed.decision.source.path.parent.name, filed.decision.folder) for filed in self.moved)
        return Counter(ways).most_common()


def main(arguments: list[str]) -> int:
    """Sort anew what was filed; returns the exit code."""
    options = _parser().parse_args(arguments)
    place = Place(options)
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
        result = sorter.sort(place.filings(Wanted(since=options.since, states=[State.DONE])))
    if options.json:
        print_json(_record(result, sorter, journal))
    else:
        _print(result, sorter, journal)
        if journal is not None and result.moved:
            print(spelled("To take it back: python -m daemon undo") + f" --run {journal.run}{place_again(options)}")
    return EXIT_LEFT_BEHIND if result.failed else 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon resort",
        description=tr(
            "Move filed images to where another checkpoint files them. What a person has moved "
            "stays, and so does what it is unsure of. The daemon must be stopped meanwhile, but for "
            "--dry-run."
        ),
    )
    add = parser.add_argument
    add("--checkpoint", required=True, metavar="PATH", help=tr("checkpoint file, run folder, or folder of runs"))
    add(
        "--since",
        type=instant,
        metavar="DAY",
        help=tr("only images filed from that day on (2026-11-23, or with a time)"),
    )
    add("--threshold", metavar="P", help=tr('less probable images stay: 0 to 1, or "auto"'))
    add("--cache-dir", metavar="DIR", help=tr("for weights and graphs (~/.cache/imagesortd)"))
    add("--dry-run", action="store_true", help=tr("say what would be done, and touch nothing"))
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
        self._filer = Filer(settings.output, journal=journal, dry_run=journal is None, roots=roots)
        self._pipeline = Pipeline(self.classifier, self._filer, Policy.of(settings), threads=threads, roots=roots)
        self._batch = settings.batch_size
        self.threshold = self._pipeline.threshold
        self.close = self._pipeline.close

    def sort(self, filings: Iterator[Filing]) -> Result:
        """Look at what was filed, newest first, and move what belongs elsewhere."""
        result = Result()
        with closing(self._decisions(filings, result)) as decisions:
            while batch := list(islice(decisions, self._batch)):
                for filed in self._filer.file(batch):
                    arrived = filed.status in (Status.FILED, Status.PLANNED)
                    (result.moved if arrived else result.failed).append(filed)
        return result

    def _decisions(self, filings: Iterator[Filing], result: Result) -> Generator[Decision, None, None]:
        looked_at = 0

        def paths() -> Iterator[Path]:
            nonlocal looked_at
            for path in _where_filed(filings, self._output, self._roots, result.stay):
                looked_at += 1
                yield path

        for decoded, prediction in self._pipeline.classified(paths()):
            looked_at -= 1
            if prediction is None or decoded.source is None:
                result.stay[UNREADABLE] += 1
            elif prediction.label == decoded.path.parent.name:
                result.stay[AGREES] += 1
            elif self._is_sure(prediction):
                yield Decision(
                    source=decoded.source,
                    folder=prediction.label,
                    label=prediction.label,
                    confidence=prediction.confidence,
                    model_digest=self.classifier.digest,
                )
            else:
                result.stay[UNSURE] += 1
        result.stay[GONE] += looked_at

    def _is_sure(self, prediction: Prediction) -> bool:
        unknown = self.threshold.unknown_too and prediction.unknown
        return prediction.confidence >= self.threshold.value and not unknown


def _where_filed(filings: Iterator[Filing], output: Path, roots: Roots, stay: Counter[str]) -> Iterator[Path]:
    """The images that lie where they were filed last."""
    corrections = Corrections(output)
    known: set[int] = set()
    for filing in filings:
        if filing.destination is None or filing.reason is not None or filing.filed_ino in known:
            continue  # filed again since, by an earlier run of this command: where it was before says nothing
        known.add(filing.filed_ino)
        if _is_there(filing, filing.destination, roots):
            yield filing.destination
        elif corrections.of(filing) is not None:
            stay[PLACED] += 1
        else:
            stay[GONE] += 1


def _is_there(filing: Filing, path: Path, roots: Roots) -> bool:
    """Whether the file of a filing lies at a path, as it was."""
    try:
        with OpenFolders(roots) as folders:
            return is_filed(folders.entry(path), filing)
    except OSError:
        return False


def _print(result: Result, sorter: _Sorter, journal: Journal | None) -> None:
    verb = "would go to" if journal is None else "->"
    for filed in result.moved:
        print(f"{_from(filed)} {verb} {_to(filed)} ({filed.decision.confidence:.2f})")
    for filed in result.failed:
        print(tr("left: {source}: {error}", source=_from(filed), error=shown(filed.error or filed.status.value)))
    for (old, new), count in result.pairs():
        print(f"{count:7}  {shown(old)} -> {shown(new)}")
    verb = "would move" if journal is None else "moved"
    model = f"checkpoint {sorter.classifier.digest[:12]} (unsure under {sorter.threshold.value:.2f})"
    stay = ", ".join(f"{count} {why}" for why, count in result.stay.items() if count) or "none"
    print(tr("{count} {verb} by {model}; stay: {stay}", count=len(result.moved), verb=verb, model=model, stay=stay))


def _from(filed: Filed) -> str:
    return shown("/".join(filed.decision.source.path.parts[-2:]))


def _to(filed: Filed) -> str:
    assert filed.destination is not None
    return shown("/".join(filed.destination.parts[-2:]))


def _record(result: Result, sorter: _Sorter, journal: Journal | None) -> dict[str, object]:
    return {
        "checkpoint": sorter.classifier.digest,
        "threshold": sorter.threshold.value,
        "run": None if journal is None else journal.run,
        "images": [_image(filed) for filed in (*result.moved, *result.failed)],
        "pairs": [{"from": old, "to": new, "images": count} for (old, new), count in result.pairs()],
        "stay": {why: count for why, count in result.stay.items() if count},
    }


def _image(filed: Filed) -> dict[str, object]:
    decision = filed.decision
    return {
        "file": str(decision.source.path),
        "destination": None if filed.destination is None else str(filed.destination),
        "class": decision.label,
        "confidence": None if decision.confidence is None else round(decision.confidence, 6),
        "status": filed.status.value,
        "error": filed.error,
    }
