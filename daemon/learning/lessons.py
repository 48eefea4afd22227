"""Give lessons beside the service: a thread waits until labels have come and nobody corrects any more, and starts one.

The thread reads the journal, writes a file of labels and waits for the trainer, a process of its own; the work loop
only tells it that labels have come, and notes in the journal what came of a lesson. Whatever a lesson does, filing goes
on with the model in use: the trainer publishes what is better, and the daemon takes that over like any other model.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from loguru import logger

from daemon.config import Settings
from daemon.journal.journal import Journal, JournalBusy
from daemon.learning.askers import Asker, Askers
from daemon.learning.base_run import find_obstacle, is_fitted_since
from daemon.learning.given_labels import LabelState, look_at_labels
from daemon.learning.giving import GivenLesson, give_lesson
from daemon.learning.outcome import FAILED, LessonOutcome
from daemon.learning.record import LessonRecord, note, recall
from daemon.learning.schedule import RETRIES, Schedule, seconds_until_wanted
from daemon.learning.status import LastLesson, LearningHealth
from daemon.learning.trainer_child import NOTHING_NEW, PUBLISHED, LessonOptions, TrainerChild
from models.errors import UserError
from models.text.language import speaking, tr

#: What lies beside the journal while a lesson runs.
LABELS_FILE = "lesson-labels.jsonl"
#: Seconds until it is looked again whether an obstacle is gone, or after a fault.
_PAUSE = 60.0
#: Seconds that the end waits for the thread, which may hang in a share.
_JOIN_SECONDS = 3.0
#: What a checkpoint fails its probation with, as a result of the lesson that made it.
TAKEN_BACK = "taken back"


class LessonFailed(UserError):
    """No lesson could be given, or it broke off."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Lessons:
    """Lessons of one daemon, whose journal lies at ``path``. `ask` is for any thread, all else for the work loop's.

    ``wake`` is called, in another thread, when there is something for `turn` to do. ``begin`` makes the child that
    gives a lesson.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        path: Path,
        wake: Callable[[], None] = lambda: None,
        *,
        begin: Callable[[LessonOptions, Path], TrainerChild] = TrainerChild,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._path = path
        self._wake = wake
        self._begin = begin
        self._clock = clock
        self._wall = wall
        self._schedule = Schedule(settings.learn_quiet_seconds, settings.learn_every_seconds)
        self._condition = threading.Condition()
        self._stopping = False
        self._seen_changes = journal.label_changes
        self._record = recall(journal, settings.checkpoint)
        self._to_note: tuple[Path, LessonRecord] | None = None
        self._askers = Askers()
        self._child: TrainerChild | None = None
        self._waiting = 0
        self._running: float | None = None
        self._obstacle: str | None = None
        self._lessons: Counter[str] = Counter()
        self._said = ""  # the last warning
        self._thread = threading.Thread(target=self._run, name="lessons", daemon=True)

    # --- the work loop

    def __enter__(self) -> Lessons:
        """Begin: labels that were written while nobody learned are looked at, too."""
        self._schedule.changed(self._clock())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End a lesson that runs, and note what the last one came to."""
        with self._condition:
            self._stopping = True
            if self._child is not None:
                self._child.end()
            self._condition.notify()
        self._thread.join(_JOIN_SECONDS)
        self.turn()

    def turn(self) -> None:
        """Tell the thread of new labels, and note what a lesson came to."""
        if self._journal.label_changes != self._seen_changes:
            self._seen_changes = self._journal.label_changes
            self._look_soon()
        if (noting := self._to_note) is not None:
            try:
                note(self._journal, *noting)
            except JournalBusy as error:
                logger.debug("what came of a lesson is noted later: {}", error)
                return
            with self._condition:
                if self._to_note is noting:
                    self._to_note = None

    def adopt(self, settings: Settings) -> None:
        """Go by other settings from now on."""
        with self._condition:
            if settings.checkpoint != self._settings.checkpoint:
                self._record, self._obstacle = recall(self._journal, settings.checkpoint), None
            self._settings = settings
            self._schedule.quiet, self._schedule.every = settings.learn_quiet_seconds, settings.learn_every_seconds
        self._look_soon()

    def model_changed(self, before: str, fault: str | None) -> None:
        """Note that another model is in use: one that was fitted anew has not learned from the labels yet.

        ``before``: the sha256 of the checkpoint that was in use, and the ``fault`` by which that has failed, if so.
        """
        record = self._record
        if fault is not None and record is not None:
            changes = {"given_up": before}
            if record.checkpoint == before and record.result == PUBLISHED:
                says = tr("what was learned is not used, and not learned again from the same labels: {why}", why=fault)
                logger.warning("{}", says)
                changes |= {"result": TAKEN_BACK, "says": says}
            self._remember(record.with_changes(**changes))
        self._look_soon()

    @property
    def health(self) -> LearningHealth:
        """How things stand."""
        with self._condition:
            record = self._record
            return LearningHealth(
                mode=self._settings.learn,
                waiting=self._waiting,
                running=self._running,
                obstacle=self._obstacle,
                last=None
                if record is None
                else LastLesson(
                    result=record.result, says=record.says, time=record.time, seconds=record.seconds, run=record.run
                ),
                lessons=dict(self._lessons),
            )

    def ask(self, asker: Asker) -> None:
        """Give a lesson now, whatever the settings say, or tell of the one that runs."""
        with self._condition:
            if not self._stopping:
                self._askers.add(asker)
                self._condition.notify()
                return
        _refuse(asker)

    def _look_soon(self) -> None:
        with self._condition:
            self._schedule.changed(self._clock())
            self._condition.notify()

    def _remember(self, record: LessonRecord, checkpoints: Path | None = None) -> None:
        with self._condition:
            if checkpoints in (None, self._settings.checkpoint):
                self._record = record
            self._to_note = (checkpoints or self._settings.checkpoint, record)

    # --- the thread

    def _run(self) -> None:
        while self._wait():
            try:
                self._look()
            except Exception as error:
                if not isinstance(error, UserError):
                    logger.exception(tr("internal error while learning from labels; filing goes on"))
                self._fail(error)
                self._schedule.again(self._clock() + _PAUSE)
        self._askers.answer(_refuse)

    def _wait(self) -> bool:
        """Wait until there is something to look at; returns False where the daemon ends."""
        with self._condition:
            while not self._stopping and not self._askers and (left := self._schedule.due - self._clock()) > 0:
                self._condition.wait(min(left, threading.TIMEOUT_MAX))
            return not self._stopping

    def _look(self) -> None:
        """See what there is to learn, and give a lesson where one is wanted."""
        settings, record, is_asked = self._settings, self._record, bool(self._askers)
        self._schedule.looked()  # before the labels are read: a later change is looked at again
        if settings.learn == "off" and not is_asked:
            self._waiting, self._obstacle = 0, None
            return
        state = look_at_labels(self._path, record)
        is_new_fit = record is not None and is_fitted_since(settings.checkpoint, record.time, record.run)
        self._waiting = state.count if is_new_fit else state.waiting
        is_to_learn = is_asked or settings.learn == "on"
        self._obstacle = find_obstacle(settings.checkpoint) if is_to_learn else None
        if is_asked and self._obstacle is not None:
            raise LessonFailed(self._obstacle, UserError.exit_code)
        left = seconds_until_wanted(state, record, self._wall(), is_new_fit=is_new_fit)
        if not is_to_learn or (left == math.inf and not is_asked):
            return
        if self._obstacle is not None:
            self._say(self._obstacle)
            self._schedule.again(self._clock() + _PAUSE)
            return
        start = max(self._clock() + left, self._schedule.earliest)
        if is_asked or start <= self._clock():
            self._teach(settings, state)
        else:
            self._schedule.again(start)

    def _teach(self, settings: Settings, state: LabelState) -> None:
        """Give a lesson, and remember what came of it."""
        self._schedule.started(self._clock())
        self._running = self._wall()
        self._wake()
        try:
            lesson = give_lesson(
                settings,
                self._path,
                state,
                self._path.with_name(LABELS_FILE),
                self._prepare,
                lambda line: self._askers.tell({"says": line}),
                given_up=None if self._record is None else self._record.given_up,
            )
            if lesson is not None:
                self._conclude(settings, lesson)
        finally:
            self._child, self._running = None, None
        self._wake()

    def _prepare(self, options: LessonOptions, file: Path) -> TrainerChild:
        child = self._begin(options, file)
        with self._condition:
            self._child = child
            if self._stopping:
                child.end()
        return child

    def _conclude(self, settings: Settings, lesson: GivenLesson) -> None:
        """Report a lesson that is over, and have it noted."""
        outcome = lesson.outcome
        result = outcome.answer.result
        record = lesson.record(self._record, settings.checkpoint)
        self._lessons[result] += 1
        self._report(outcome)
        if (backoff := RETRIES.get(result)) is None:
            self._waiting = 0
        else:
            self._schedule.again(self._clock() + backoff.delay(record.failures - 1))
        self._remember(record, settings.checkpoint)
        if result in FAILED:
            self._fail(LessonFailed(outcome.sentence(), outcome.exit_code))
        else:
            self._askers.answer(lambda asker: asker.result(outcome.as_result()))

    def _fail(self, error: Exception) -> None:
        self._askers.answer(lambda asker: asker.failed(error))

    def _report(self, outcome: LessonOutcome) -> None:
        """Log what came of a lesson; what it could not use, and a reason for none, is said once."""
        result = outcome.answer.result
        if result == PUBLISHED:
            self._said = ""
            logger.info("{}", outcome.sentence())
        elif result in RETRIES:
            self._say(outcome.sentence())
        elif result != NOTHING_NEW:
            logger.info("{}", outcome.sentence())
        for sentence in outcome.left_out:
            logger.info("{}", sentence)

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            logger.warning("{}", sentence)


def _refuse(asker: Asker) -> None:
    with speaking(asker.language):
        asker.failed(LessonFailed(tr("the daemon is stopping: run the same command again when it is started"), 3))
