"""Health of the daemon: gathered on the work loop's thread, shown by ``status``, the metrics and systemd."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger
from pydantic import BaseModel, ConfigDict

from daemon.alarms.status import AlarmsHealth
from daemon.files.processes import process_began
from daemon.filing.held import HeldImages
from daemon.filing.outcome import Outcome
from daemon.filing.status import Status
from daemon.journal.labels import How
from daemon.learning.status import LearningHealth
from daemon.monitoring.audits import AuditHealth
from daemon.monitoring.messages import shown
from daemon.reloading.threshold import Threshold
from models.deciding.rule import Fate

if TYPE_CHECKING:
    from daemon.filing.bursts import Bursts
    from daemon.watching.watcher import WatcherStatus
    from models.classifier import Classifier

#: Seconds over which the speed is taken.
_WINDOW = 60.0
#: Differences in the age of the oldest image below these seconds are ignored.
_JITTER = 2.0
_LONGEST_ERROR = 1_000
#: What became of images that went into class folders.
_INTO_CLASSES = frozenset(fate.value for fate in Fate if fate.is_of_class)
#: Classes that are counted one by one: each is a time series for as long as the daemon runs, whatever models come.
_MOST_CLASSES = 500


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class InboxHealth(_Record):
    """One inbox: ``mode`` is inotify or polling, ``missing`` why it is not there.

    ``apart``: how many folders in it are not entered, see `Skipped.not_entered`. ``other_files`` lie in it and are not
    looked at, because of their names. What has a default is absent in status files of earlier versions.
    """

    path: str
    mode: str
    polled: str | None
    missing: str | None
    apart: int = 0
    other_files: int = 0


class UnfinishedHealth(_Record):
    """Unfinished images: their number, the one that has been so for longest, and since when."""

    count: int
    example: str
    since: float


class HeldHealth(_Record):
    """Images that an undo brought back: their number, and one of them."""

    count: int
    example: str


class BurstHealth(_Record):
    """Images that wait to be decided with others of their bursts, which are ``seconds`` long at most."""

    seconds: float
    waiting: int


class StallHealth(_Record):
    """Lack of progress: the inbox that does not answer, if that is the cause, and since when."""

    inbox: str | None
    since: float


class ErrorHealth(_Record):
    """Last error that was logged."""

    time: float
    text: str


class ModelHealth(_Record):
    """Model in use."""

    mode: str
    digest: str
    classes: int
    starter: bool


class ThresholdHealth(_Record):
    """From which probability on an image is filed, and why; ``unknown_too``: unknown ones go to the others besides.

    ``levels``: the same for inner folders, by their depth; ``own`` for classes and inner folders with a rule.
    ``others``: their folder; None where images are only tagged.
    """

    value: float
    why: str
    unknown_too: bool
    levels: dict[int, float] = {}
    others: str | None = "others"
    own: dict[str, float] = {}


class Health(_Record):
    """Everything at one moment. Times are seconds since 1970.

    ``images`` counts what became of images since the start, ``attempts`` by status the attempts that are repeated.
    What has a default is absent in status files of earlier versions.
    """

    pid: int
    process: int | None  # the start of the process, in the kernel's ticks: tells it from a later one of the same id
    started: float
    stopped: bool
    output: str
    output_away: str | None = None  # why nothing can be filed into it
    other_outputs: dict[str, str | None] = {}  # those of classes that have their own, and why they are away, if so
    inboxes: list[InboxHealth]
    waiting: int
    about: bool = False  # whether ``waiting`` is an estimate
    in_flight: int
    oldest: float | None
    unfinished: UnfinishedHealth | None = None
    held: HeldHealth | None = None
    bursts: BurstHealth | None = None  # None: each image is decided by itself
    stall: StallHealth | None = None
    watched_folders: int
    overflows: int
    restarts: int
    images: dict[str, int]
    attempts: dict[str, int] = {}
    classes: dict[str, int] = {}  # images filed by class; under "" those of classes beyond the first few hundred
    audit: AuditHealth | None = None  # what people found wrong of what was filed
    labels: dict[str, int] = {}  # what people said of images, by how they said it
    images_per_second: float
    errors: int
    last_error: ErrorHealth | None
    model: ModelHealth
    threshold: ThresholdHealth
    reloads: int
    learning: LearningHealth | None = None
    alarms: AlarmsHealth = AlarmsHealth()


class Tally:
    """Counts what happens, and makes a `Health` of it."""

    def __init__(
        self,
        output: Path,
        classifier: Classifier,
        threshold: Callable[[], Threshold],
        *,
        held: HeldImages | None = None,
        learning: Callable[[], LearningHealth] | None = None,
        bursts: Bursts[Any] | None = None,
        audit: Callable[[], AuditHealth | None] = lambda: None,
        alarms: Callable[[], AlarmsHealth] = AlarmsHealth,
        other_outputs: Callable[[], Mapping[Path, str | None]] = dict,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._output = output
        self._held = held
        self._learning = learning
        self._bursts = bursts
        self._audit = audit
        self._alarms = alarms
        self._other_outputs = other_outputs
        self._clock = clock
        self._wall = wall
        self._started = wall()
        self._images: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._labels: Counter[str] = Counter()
        self._recent: deque[tuple[float, int]] = deque()  # (when, how many images by then)
        self._oldest: float | None = None
        self._unfinished: UnfinishedHealth | None = None
        self._model = _model(classifier)
        self._threshold = threshold
        self._reloads = 0
        self._errors = 0
        self._last_error: ErrorHealth | None = None
        self._sink: int | None = None
        self.output_away: str | None = None  # why nothing can be filed into the output now

    def record_errors(self) -> None:
        """Remember errors as they are logged, by any thread; call it again after the log was set up again."""
        self.stop_recording()

        def note(message: object) -> None:
            self._errors += 1
            text = shown(str(message).strip())[:_LONGEST_ERROR]
            self._last_error = ErrorHealth(time=self._wall(), text=text)

        self._sink = logger.add(note, level="ERROR", format="{message}", backtrace=False, diagnose=False)

    def stop_recording(self) -> None:
        """Stop remembering errors that are logged."""
        if self._sink is not None:
            with suppress(ValueError):  # the log was set up again, without it
                logger.remove(self._sink)
            self._sink = None

    def outcome(self, outcome: Outcome) -> None:
        """Count one image; if it is to be tried again, count only the attempt."""
        if outcome.status is Status.HELD:
            return
        if outcome.comes_again:
            self._attempts[outcome.status.value] += 1
        else:
            kind = _kind(outcome)
            self._images[kind] += 1
            if outcome.label is not None and kind in _INTO_CLASSES:
                self._count_class(outcome.label)

    def _count_class(self, label: str) -> None:
        is_known = label in self._classes or len(self._classes) < _MOST_CLASSES
        self._classes[label if is_known else ""] += 1

    def labelled(self, labels: Mapping[How, int]) -> None:
        """Count what people said of images."""
        self._labels.update({how.value: count for how, count in labels.items()})

    @property
    def images(self) -> Mapping[str, int]:
        """Images by outcome since the start."""
        return self._images

    def took_over(self, classifier: Classifier) -> None:
        """Count a new model."""
        self._model = _model(classifier)
        self._reloads += 1

    def health(self, watcher: WatcherStatus, *, stopped: bool = False) -> Health:
        """Summarise the present state."""
        return Health(
            pid=os.getpid(),
            process=process_began(os.getpid()),
            started=self._started,
            stopped=stopped,
            output=shown(str(self._output)),
            output_away=self.output_away,
            other_outputs={shown(str(output)): why for output, why in self._other_outputs().items()},
            inboxes=[
                InboxHealth(
                    path=shown(str(inbox.path)),
                    mode=inbox.mode,
                    polled=inbox.why_polled,
                    missing=inbox.why_missing,
                    other_files=inbox.other_files,
                    apart=inbox.not_entered,
                )
                for inbox in watcher.inboxes
            ],
            waiting=watcher.waiting + watcher.ahead,
            about=watcher.ahead > 0,
            in_flight=watcher.in_flight,
            oldest=self._oldest_since(watcher),
            unfinished=self._unfinished_now(watcher),
            held=_held(self._held),
            bursts=_burst(self._bursts),
            watched_folders=watcher.watched_folders,
            overflows=watcher.overflows,
            restarts=watcher.restarts,
            images=dict(self._images),
            attempts=dict(self._attempts),
            classes=dict(self._classes),
            audit=self._audit(),
            labels=dict(self._labels),
            images_per_second=0.0 if stopped else self._speed(),
            errors=self._errors,
            last_error=self._last_error,
            model=self._model,
            threshold=_threshold(self._threshold()),
            reloads=self._reloads,
            learning=None if self._learning is None else self._learning(),
            alarms=self._alarms(),
        )

    def _oldest_since(self, watcher: WatcherStatus) -> float | None:
        if not watcher.waiting and not watcher.in_flight:
            self._oldest = None
            return None
        since = self._wall() - watcher.oldest_seconds
        if self._oldest is None or abs(since - self._oldest) > _JITTER:
            self._oldest = since
        return self._oldest

    def _unfinished_now(self, watcher: WatcherStatus) -> UnfinishedHealth | None:
        status = watcher.unfinished
        if status.example is None:
            self._unfinished = None
            return None
        now = UnfinishedHealth(
            count=status.count, example=shown(str(status.example)), since=self._wall() - status.seconds
        )
        before = self._unfinished
        if before is None or (before.count, before.example) != (now.count, now.example):
            self._unfinished = now  # else only the clocks differ
        return self._unfinished

    def _speed(self) -> float:
        now, total = self._clock(), self._images.total()
        if not self._recent or self._recent[-1][1] != total:
            self._recent.append((now, total))
        while len(self._recent) > 1 and self._recent[1][0] <= now - _WINDOW:
            self._recent.popleft()
        began, before = self._recent[0]
        if now - began >= _WINDOW and len(self._recent) == 1:
            return 0.0
        return round((total - before) / max(min(now - began, _WINDOW), 1.0), 1)


def _kind(outcome: Outcome) -> str:
    if outcome.status not in (Status.FILED, Status.PLANNED):
        return outcome.status.value
    if outcome.reason is not None:
        return "quarantined"
    if outcome.duplicate_of is not None:
        return "duplicate"
    assert outcome.fate is not None, "an image that was filed was classified, or has a reason"
    return outcome.fate.value


def _held(held: HeldImages | None) -> HeldHealth | None:
    example = None if held is None else held.example
    return None if held is None or example is None else HeldHealth(count=len(held), example=shown(str(example)))


def _burst(bursts: Bursts[Any] | None) -> BurstHealth | None:
    return BurstHealth(seconds=bursts.seconds, waiting=len(bursts)) if bursts is not None and bursts.seconds else None


def _threshold(threshold: Threshold) -> ThresholdHealth:
    return ThresholdHealth(
        value=threshold.value,
        why=threshold.why,
        unknown_too=threshold.refuses_unknown,
        levels=dict(threshold.rule.levels),
        others=threshold.others,
        own={label: limit.threshold for label, limit in threshold.rule.own.items()},
    )


def _model(classifier: Classifier) -> ModelHealth:
    metadata = classifier.metadata
    return ModelHealth(
        mode=metadata.mode,
        digest=classifier.digest,
        classes=len(metadata.classes),
        starter=bool(metadata.settings.get("starter")),
    )
