"""Work loop: file stable images, answer the watcher, and change the model between two batches."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import assert_never

from loguru import logger

from daemon.alarms.watch import AlarmWatch
from daemon.control.turns import Turns
from daemon.correcting.watch import CorrectionWatch, CorrectionWatches
from daemon.files import copying
from daemon.filing.filer import Status
from daemon.filing.outcome import Outcome
from daemon.housekeeping import Housekeeping
from daemon.learning.lessons import Lessons
from daemon.monitoring.announcements import announce_rules
from daemon.monitoring.messages import describe_change, fields, left, line, refused, shown
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.retries import Retries
from daemon.pipeline import ModelFailed, Pipeline
from daemon.reconfigure import Configuration, Reread
from daemon.reloading.reloader import Reloader
from daemon.watching.watcher import InboxWatcher
from models.classifier import Classifier
from models.text.language import speaking_for_itself, tr

#: Images taken from the watcher at a time; between them the model may be changed.
MOST_AT_ONCE = 64
#: Seconds to wait for images before checking for a published checkpoint.
_TICK = 1.0
_ONCE_TICK = 0.25


class WorkLoop:
    """Runs on one thread, step by step: `run` until `stop` is called, `run_once` until the inboxes are empty."""

    def __init__(
        self,
        watcher: InboxWatcher,
        pipeline: Pipeline,
        reloader: Reloader,
        monitor: Monitor,
        configuration: Configuration,
        housekeeping: Housekeeping | None = None,
        turns: Turns | None = None,
        corrections: CorrectionWatch | CorrectionWatches | None = None,
        lessons: Lessons | None = None,
        alarms: AlarmWatch | None = None,
    ) -> None:
        self._watcher = watcher
        self._pipeline = pipeline
        pipeline.leave_slow(watcher.wake)
        self._reloader = reloader
        self._monitor = monitor
        self._configuration = configuration
        self._housekeeping = housekeeping
        self._turns = turns  # of the operations of commands
        self._corrections = corrections
        self._lessons = lessons
        self._alarms = alarms
        self._stopping = threading.Event()
        self._reconfiguring = threading.Event()
        self._retries = Retries()

    def stop(self) -> None:
        """End after the decoded images are filed; a copy that is being made is given up. Safe in a signal handler."""
        self._stopping.set()
        self._watcher.wake()

    def reconfigure(self) -> None:
        """Read the settings again before the next batch. Safe in a signal handler."""
        self._reconfiguring.set()
        self._watcher.wake()

    def run(self) -> None:
        """File what arrives until `stop` is called."""
        with copying.reporting_to(self._stepped, self._stopping.is_set):
            while not self._stopping.is_set():
                self.step(min(_TICK, self._monitor.tick))
            if self._pipeline.pending:  # what waits for its burst is decided now
                for outcome in self._outcomes([], may_grow=self._watcher.ends_early):
                    self._answer(outcome)

    def run_once(self) -> int:
        """File all images that are there now; return how many were left behind.

        After `stop` it counts those that it knows of, and at least one.
        """
        with copying.reporting_to(self._stepped, self._stopping.is_set):
            return self._run_once()

    def _run_once(self) -> int:
        left: set[Path] = set()
        unanswered: set[Path] = set()
        while not self._stopping.is_set():
            paths = self._watcher.ready(_ONCE_TICK, MOST_AT_ONCE)
            if not paths and self._is_idle():
                break
            unanswered.update(paths)
            for outcome in self._outcomes(paths, may_grow=self._watcher.may_be_unfinished):
                self._watcher.done(outcome.path)
                unanswered.discard(outcome.path)
                is_left = outcome.comes_again or outcome.status is Status.REFUSED
                (left.add if is_left else left.discard)(outcome.path)
            if self._stopping.is_set():
                break
            pending = set(self._pipeline.pending)
            still_written, unanswered = unanswered - pending, unanswered & pending
            left |= still_written
            for path in still_written:
                self._watcher.done(path)
                logger.bind(file=str(path)).warning(
                    tr("{name} is left behind: it is still being written", name=shown(path.name))
                )
        for path in self._watcher.unfinished():
            left.add(path)
            logger.bind(file=str(path)).warning(
                tr("{name} is left behind: it is still being written", name=shown(path.name))
            )
        if self._stopping.is_set():
            status = self._watcher.status()
            logger.warning(
                tr(
                    "stopped before the end ({images}): what is not filed yet stays in the inbox, about "
                    "{count} images, and the same command goes on with them",
                    images=self._monitor.summary or tr("no image was filed"),
                    count=len(left) + status.waiting + status.ahead + status.in_flight,
                ),
            )
            return max(len(left) + status.waiting + status.ahead + status.in_flight, 1)
        inboxes = [inbox for inbox in self._watcher.status().inboxes if inbox.why_missing is not None]
        # An inbox also counts as missing because it cannot be read: then its images are left behind.
        return len(left) + sum(inbox.is_unresponsive or os.path.lexists(inbox.path) for inbox in inboxes)

    def _is_idle(self) -> bool:
        status = self._watcher.status()
        still_settling = status.waiting - status.unfinished.count
        return still_settling <= 0 and not status.in_flight and not any(inbox.walking for inbox in status.inboxes)

    def step(self, timeout: float) -> int:
        """Wait up to ``timeout`` seconds for images and file them; returns how many there were."""
        if self._reconfiguring.is_set():
            self._reconfiguring.clear()
            self.reload()
        self._take_over(self._reloader.poll())
        paths = self._watcher.ready(0.0 if self._has_turns else timeout, MOST_AT_ONCE)
        for outcome in self._outcomes(paths, may_grow=self._watcher.ends_early):
            self._answer(outcome)
        if self._turns is not None:
            self._turns.run(self._report_and_ask_stop, idle=not paths)
        if self._corrections is not None:
            self._corrections.turn()
        if self._lessons is not None:
            self._lessons.turn()
        if self._alarms is not None:
            self._alarms.turn()
        if self._housekeeping is not None and self._watcher.all_answer():
            self._housekeeping.turn(idle=not paths and not self._has_turns)
        self._stepped()
        return len(paths)

    def reload(self) -> Reread:
        """Read the settings again, and see whether another checkpoint is published. Not in the midst of a step."""
        self._monitor.reconfiguring()
        taken = self._configuration.refresh(self._pipeline, self._reloader)
        with speaking_for_itself():  # a client is only told of the settings
            self._monitor.adopt(self._configuration.settings, taken)
            announce_rules(self._configuration.settings, self._pipeline.classifier.classes)
            if self._corrections is not None:
                self._corrections.adopt(self._configuration.settings)
            if self._lessons is not None:
                self._lessons.adopt(self._configuration.settings)
            if self._alarms is not None:
                self._alarms.adopt(self._configuration.settings)
            self._take_over(self._reloader.poll())
        return self._configuration.reread

    @property
    def _has_turns(self) -> bool:
        return self._turns is not None and self._turns.is_due

    def _stepped(self) -> None:
        with speaking_for_itself():  # also in the midst of a client's operation
            self._monitor.stepped(self._watcher.status)

    def _outcomes(self, paths: list[Path], *, may_grow: Callable[[Path], bool]) -> Iterable[Outcome]:
        for outcome in self._processed(paths, may_grow):
            self._report(outcome)
            self._monitor.outcome(outcome)
            self._reloader.outcome(outcome)
            if self._alarms is not None:
                self._alarms.outcome(outcome)
            if self._corrections is not None and outcome.destination not in (None, outcome.path):
                self._corrections.filed(outcome.destination)
            yield outcome
            self._stepped()
        self._monitor.batch_ended()

    def _processed(self, paths: list[Path], may_grow: Callable[[Path], bool]) -> Iterable[Outcome]:
        """Yield the outcomes of images; where a new model fails, the rest is classified by the one before it."""
        coming = iter(paths)
        while True:
            try:
                yield from self._pipeline.process(coming, may_grow, self._between_images)
                return
            except ModelFailed as failure:
                before = self._reloader.failed(failure.error)
                if before is None:
                    raise
            self._take_over(before)

    def _between_images(self) -> bool:
        """Whether to take no more images; asked while nothing is being filed, so that operations may have a turn."""
        if self._turns is not None:
            self._turns.run(self._report_and_ask_stop, idle=False, in_step=True)
        return self._report_and_ask_stop()

    def _report_and_ask_stop(self) -> bool:
        """Whether to do no more. Also reports progress."""
        self._stepped()
        return self._stopping.is_set()

    def _take_over(self, newer: Classifier | None) -> None:
        if newer is not None:
            before = self._pipeline.classifier
            change = describe_change(before, newer)
            self._pipeline.classifier = newer
            logger.info(
                tr(
                    "took over checkpoint {digest}: {change}; {threshold}",
                    digest=newer.digest[:12],
                    change=change,
                    threshold=self._pipeline.threshold,
                )
            )
            rules = self._configuration.settings.class_rules
            if rules.unknown(newer.classes) != rules.unknown(before.classes):
                announce_rules(self._configuration.settings, newer.classes)
            self._monitor.took_over(newer)
            if self._corrections is not None:
                self._corrections.use(newer.classes)
            if self._lessons is not None:
                self._lessons.model_changed(before.digest, self._reloader.why_given_up(before.digest))

    def _answer(self, outcome: Outcome) -> None:
        path = outcome.path
        match outcome.status:
            case Status.RETRY:
                self._watcher.again(path, self._retries.delay(path))
            case Status.CHANGED | Status.STOPPED:
                self._watcher.again(path, 0.0)
            case Status.FILED | Status.PLANNED | Status.GONE | Status.ALREADY | Status.HELD:
                self._watcher.done(path)
            case Status.REFUSED | Status.LEFT:
                self._watcher.done(path)
            case Status.UNDONE:
                raise AssertionError("an image that is filed is not undone")
            case _:
                assert_never(outcome.status)

    def _report(self, outcome: Outcome) -> None:
        """Log one line for each image; a lasting failure only once, until it has cleared."""
        path, status = outcome.path, outcome.status
        log = logger.bind(**fields(outcome))
        match status:
            case Status.FILED | Status.PLANNED:
                level = "INFO" if outcome.reason is None else "WARNING"
                log.log(level, "{}", line(outcome))
            case Status.REFUSED:
                log.warning("{}", refused(outcome))
            case Status.LEFT:
                log.info("{}", left(outcome))
            case Status.RETRY:
                self._retries.failed(path, outcome.detail or tr("The image cannot be filed now."))
            case _:
                log.debug("{}: {}", shown(path.name), status.value)
        if status is Status.FILED:
            self._retries.filed(path)
        elif not outcome.comes_again:
            self._retries.over(path)
