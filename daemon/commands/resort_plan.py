"""Plan what a resort moves: where another checkpoint would file the images that lie as they were filed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from daemon.config import Settings
from daemon.decoding.decoder import Decoded
from daemon.files.outputs import output_of
from daemon.files.roots import OpenFolders, Roots
from daemon.filing.class_paths import ClassPaths, is_inside
from daemon.filing.corrections import Corrections
from daemon.filing.filer import Filer, FilingRequest, Status
from daemon.filing.folder_layout import FolderLayout
from daemon.filing.identity import image_key, is_as_filed, took_over_from
from daemon.filing.outcome import Outcome
from daemon.filing.whereabouts import origin_of
from daemon.journal.history import Wanted
from daemon.journal.records import Filing
from daemon.operations.resort import LABELLED
from daemon.pipeline import Pipeline
from daemon.reloading.loader import check_names
from daemon.reloading.pipeline_settings import PipelineSettings
from models.allowed import allow_plugins
from models.classifier import Prediction, open_classifier
from models.deciding.rule import Fate, Ruling
from models.inference.runtime import cores
from models.text.language import mark
from models.weights.store import WeightsStore

#: Why an image stays: as JSON has it, and for people.
AGREES = "same class"
PLACED, GONE, UNREADABLE = "moved by hand", "not there any more", "unreadable"
STAYS = {
    AGREES: mark("{count} same class"),
    Fate.ROLLED_UP.value: mark("{count} sure of the folder above their class only"),
    Fate.UNSURE.value: mark("{count} unsure"),
    Fate.UNKNOWN.value: mark("{count} unknown"),
    PLACED: mark("{count} moved by hand"),
    LABELLED: mark("{count} labelled otherwise"),
    GONE: mark("{count} not there any more"),
    UNREADABLE: mark("{count} unreadable"),
}


@dataclass
class ResortResult:
    """Images that moved or would move, the number of others by the reason why they stay, and those that failed."""

    moved: list[Outcome] = field(default_factory=list)
    stay: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)


@dataclass(frozen=True)
class PlannedMove:
    """An image that is to move, and the number of its filing."""

    filing: int
    outcome: Outcome

    @property
    def label(self) -> str:
        """Class that it is taken for now."""
        assert self.outcome.label is not None
        return self.outcome.label

    @property
    def is_rolled_up(self) -> bool:
        """Whether it is only known to be of a class in that folder."""
        return self.outcome.fate is Fate.ROLLED_UP

    @property
    def confidence(self) -> float:
        """How surely."""
        assert self.outcome.confidence is not None
        return float(self.outcome.confidence)


class ResortPlanner:
    """A checkpoint, and what it says of filed images: nothing is moved by it."""

    def __init__(
        self,
        settings: Settings,
        checkpoint: Path,
        roots: Roots,
        labels: Mapping[str, str | None],
        history: Callable[[Wanted], Iterable[Filing]],
    ) -> None:
        """``labels``: what people said of images, by their content. ``history`` reads the wanted filings."""
        allow_plugins(settings.plugins)
        threads = settings.threads or cores()
        self.classifier = open_classifier(
            checkpoint,
            WeightsStore(settings.cache_dir),
            threads=threads,
            precision=settings.precision,
            device=settings.device,
        )
        check_names(checkpoint, self.classifier.classes, settings.other_folders)
        self.paths = ClassPaths(settings.output, lambda: self.classifier.classes, other_outputs=settings.outputs[1:])
        self._rules = settings.class_rules.moving()
        self._roots = roots
        self._labels = labels
        self._history = history
        self._filings: dict[Path, Filing] = {}  # those of the images that are being classified
        self._tags: dict[Path, str] = {}  # that images have which move nowhere, but get another one
        self._pipeline = Pipeline(
            self.classifier,
            Filer(
                settings.output,
                dry_run=True,
                roots=roots,
                layout=FolderLayout(settings.layout, settings.watch),
                rules=self._rules,
            ),
            PipelineSettings.from_settings(settings),
            threads=threads,
            roots=roots,
            decide=self._decide,
        )
        self.threshold = self._pipeline.threshold
        self.close = self._pipeline.close
        self.result = ResortResult()

    def pairs(self) -> list[tuple[tuple[str, str], int]]:
        """Count how many images go from which class folder to which, the largest number first."""
        pairs = ((self._lies_in(outcome.path), outcome.folder or "") for outcome in self.result.moved)
        return Counter(pairs).most_common()

    def plan(
        self, filings: Iterator[Filing], only_in: Path | None, stopping: Callable[[], bool]
    ) -> Iterator[PlannedMove]:
        """Classify what was filed (all, or what lies in one folder), newest first; yield what belongs elsewhere."""
        images = self._registered(
            _where_last_filed(filings, only_in, self.paths.outputs, self._roots, self.result.stay)
        )
        for outcome in self._pipeline.process(images, stopping=stopping):
            filing = self._filings.pop(outcome.path)
            if outcome.status is Status.PLANNED:
                assert filing.id is not None
                yield PlannedMove(filing.id, outcome)
            elif outcome.label is not None:
                self.result.failed.append(outcome)
            else:
                self.result.stay[GONE] += 1

    def _registered(self, filings: Iterator[Filing]) -> Iterator[Path]:
        for filing in filings:
            assert filing.place is not None
            self._filings[filing.place] = filing
            if filing.action == "tag":
                self._tags[filing.place] = (filing.destination and filing.label) or ""
            yield filing.place

    def _lies_in(self, path: Path) -> str:
        """Name the class of the folder that an image lies in, or of its tag; "" for no class."""
        return self._tags[path] if path in self._tags else self.paths.of_image(path) or ""

    def _decide(self, decoded: Decoded, prediction: Prediction | None) -> FilingRequest | None:
        """Plan to move what the checkpoint is sure of elsewhere; what stays is counted."""
        ruling = None if prediction is None else self.threshold.decide(prediction)
        why = self._why_it_stays(decoded, prediction, ruling)
        if why is None and ruling is not None and decoded.source is not None:
            is_tagged = decoded.path in self._tags
            return FilingRequest(
                action="tag" if is_tagged else None,
                again=is_tagged,
                source=decoded.source,
                folder=ruling.label,
                fate=ruling.fate,
                label=ruling.label,
                confidence=ruling.confidence,
                model_digest=self.classifier.digest,
                origin=origin_of(self._filings[decoded.path], self.paths.outputs, self._history),
            )
        self.result.stay[why or UNREADABLE] += 1
        self._filings.pop(decoded.path, None)
        return None

    def _why_it_stays(self, decoded: Decoded, prediction: Prediction | None, ruling: Ruling | None) -> str | None:
        if prediction is None or ruling is None or decoded.source is None:
            return UNREADABLE
        lies_in = self._lies_in(decoded.path)
        if lies_in in (prediction.label, ruling.label) and decoded.path in self._tags:
            return AGREES
        if lies_in in (prediction.label, ruling.label):
            # By a rule that was changed since, its class may have another output.
            output = output_of(decoded.path, self.paths.outputs)
            if (
                not ruling.fate.is_of_class
                or lies_in != ruling.label
                or self._rules.handling_of(lies_in).output == output
            ):
                return AGREES
        if not ruling.fate.is_of_class or is_inside(lies_in, ruling.label):
            return ruling.fate.value
        if self._labels.get(decoded.source.sha256 or "", ruling.label) != ruling.label:
            return LABELLED
        return None


def _where_last_filed(
    filings: Iterator[Filing], only_in: Path | None, outputs: Sequence[Path], roots: Roots, stay: Counter[str]
) -> Iterator[Filing]:
    """Yield the filings of images that lie where they were filed last; count the others by why they stay."""
    corrections = Corrections(outputs[0], other_outputs=outputs[1:])
    images: set[tuple[object, ...]] = set()
    filed_on: dict[Path, list[Filing]] = {}  # by earlier runs of this command, and where from
    for filing in filings:
        if output_of(filing.source, outputs) is not None:
            filed_on.setdefault(filing.source, []).append(filing)
        if filing.place is None or filing.reason is not None or filing.duplicate_of is not None:
            continue
        if image_key(filing) in images:
            continue  # filed again since: where it was before says nothing
        images.add(image_key(filing))
        if any(took_over_from(filing, newer) for newer in filed_on.get(filing.place, ())):
            continue
        if only_in not in (None, filing.folder):
            continue
        if _is_as_filed_at(filing, filing.place, roots):
            yield filing
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
