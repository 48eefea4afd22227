"""Report how the daemon is, from the work loop: status file, metrics, systemd and the hook."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from daemon.config import Settings
from daemon.filing.outcome import Outcome
from daemon.monitoring.health import Health, StallHealth, Tally, counted
from daemon.monitoring.hooks import Hook
from daemon.monitoring.metrics import render
from daemon.monitoring.progress import Progress
from daemon.monitoring.status_file import StatusFile
from daemon.monitoring.systemd import Notifier
from daemon.watching.watcher import WatcherStatus
from models.classifier import Classifier
from models.text.language import tr

#: Seconds between two looks at how things stand, and the longest between two writings of the metrics.
_PACE, _METRICS_AGE = 1.0, 60.0


class Monitor:
    """Report how the daemon is. All but `metrics` and `stalled` run on the work loop's thread, so that a watchdog ping
    proves progress.

    ``status`` is the file that ``python -m daemon status`` reads, ``metrics`` the one for Prometheus. Both are written
    when something has changed; the metrics also once a minute, since they carry the time of the last progress.
    ``output_away`` says why nothing can be filed into the output, if so. ``keeps_metrics``: of a run that ends by
    itself, the numbers are those of the last run, and stay.
    """

    def __init__(
        self,
        notifier: Notifier,
        tally: Tally,
        *,
        status: StatusFile | None = None,
        metrics: StatusFile | None = None,
        hook: Hook | None = None,
        output_away: Callable[[], str | None] = lambda: None,
        keeps_metrics: bool = False,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier = notifier
        self._tally = tally
        self._status = status
        self._metrics = metrics
        self._metrics_until = -math.inf
        self._hook = hook
        self._output_away = output_away
        self._keeps_metrics = keeps_metrics
        self._progress = Progress(shows_bar=False) if progress is None else progress
        self._clock = clock
        self._next_look = -math.inf
        self._health: Health | None = None
        self._looked = 0.0
        #: When there was progress last; None before the first time.
        self.progressed: float | None = None
        self._showing = threading.Lock()

    @property
    def tick(self) -> float:
        """The longest time, in seconds, between two calls of `progress`."""
        return self._notifier.sign_seconds or math.inf

    def ready(self, watcher: Callable[[], WatcherStatus]) -> None:
        """The watch is armed and the model is warm."""
        self._tally.listen()
        self._notifier.ready()
        self.progress(watcher)

    def outcome(self, outcome: Outcome) -> None:
        """Something became of an image."""
        self._tally.outcome(outcome)
        if self._hook is not None:
            self._hook.outcome(outcome)

    @property
    def images(self) -> str:
        """How many images had which outcome, in the words of `status`; "" where there was none."""
        return counted(self._tally.images)

    def batch_ended(self) -> None:
        """Flush the hook: all images of this step were dealt with."""
        if self._hook is not None:
            self._hook.flush()

    def took_over(self, classifier: Classifier) -> None:
        """Note that another model is in use."""
        self._tally.took_over(classifier)

    def progress(self, watcher: Callable[[], WatcherStatus]) -> None:
        """The work got a step further, or there was nothing to do; ``watcher`` is only asked once a second."""
        self._notifier.alive()
        now = self.progressed = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + _PACE
        self._looked = time.time()
        self._tally.output_away = self._output_away()
        health = self._tally.health(watcher())
        self._progress.look(sum(health.images.values()), health.waiting + health.in_flight, about=health.about)
        self._show(health)

    def metrics(self) -> str:
        """The metrics as they were at the last progress. Safe in another thread."""
        return "" if self._health is None else render(self._health, self._looked)

    def stalled(self, inbox: str | None, seconds: float) -> None:
        """Nothing has got on for so long, because of an inbox, if one is given. Called in another thread."""
        if self._health is not None:
            stall = StallHealth(inbox=inbox, since=time.time() - seconds)
            self._show(self._health.model_copy(update={"stall": stall}))

    def _show(self, health: Health) -> None:
        with self._showing:
            self._write(health)

    def _write(self, health: Health) -> None:
        changed = health != self._health
        self._health = health
        if self._metrics is not None and (changed or self._clock() >= self._metrics_until):
            self._metrics_until = self._clock() + _METRICS_AGE
            self._metrics.write(self.metrics())
        if changed:
            if self._status is not None:
                self._status.write(health.model_dump_json())
            self._notifier.status(sentence(health))

    def reloading(self) -> None:
        """Tell systemd that the settings are about to be read again."""
        self._notifier.reloading()

    def adopt(self, settings: Settings, taken: frozenset[str]) -> None:
        """Apply the settings named in ``taken``, after they were read again."""
        if "metrics_file" in taken:
            if self._metrics is not None:
                self._metrics.remove()
            self._metrics = metrics_file(settings)
            self._metrics_until = -math.inf
        if taken.intersection(("on_filed", "on_filed_seconds")):
            if self._hook is not None:
                self._hook.retire()
            self._hook = hook_of(settings)
        self._tally.listen()
        self._notifier.ready()

    def stopping(self, watcher: WatcherStatus) -> None:
        """Report that no more images are taken, and close the hook."""
        self._progress.close()
        self._notifier.stopping()
        self._show(self._tally.health(watcher, stopped=True))
        if self._metrics is not None and not self._keeps_metrics:
            self._metrics.remove()  # a daemon that is no more has no numbers
        if self._hook is not None:
            self._hook.close()
        self._tally.deafen()


def sentence(health: Health) -> str:
    """One line for ``systemctl status`."""
    missing = [inbox.path for inbox in health.inboxes if inbox.missing]
    parts = [tr("missing: {inboxes}", inboxes=", ".join(missing))] if missing else []
    if health.output_away:
        parts.append(tr("not there: {output}", output=health.output))
    if (stall := health.stall) is not None:
        parts.append(tr("no answer from {inbox}", inbox=stall.inbox) if stall.inbox else tr("no progress"))
    waiting = health.waiting + health.in_flight
    parts.append(tr("stopped") if health.stopped else tr("{count} waiting", count=waiting))
    if health.images:
        parts.append(counted(health.images))
    if health.images_per_second:
        parts.append(tr("{speed:.1f} images/s", speed=health.images_per_second))
    return ", ".join(parts)


def metrics_file(settings: Settings) -> StatusFile | None:
    """The file for the metrics, which another user's node_exporter may read; None where none is asked for."""
    path = settings.metrics_file
    return None if path is None else StatusFile(path, 0o644)


def hook_of(settings: Settings) -> Hook | None:
    """The command to run after filing; None where none is asked for."""
    return Hook(settings.on_filed, settings.on_filed_seconds) if settings.on_filed else None
