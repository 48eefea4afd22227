"""Report the daemon's health from the work loop: status file, metrics, systemd and the hook."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping

from daemon.config import Settings
from daemon.filing.outcome import Outcome
from daemon.journal.labels import How
from daemon.monitoring.counted import counted
from daemon.monitoring.health import Health, StallHealth, Tally
from daemon.monitoring.hooks import Hooks
from daemon.monitoring.metrics import render
from daemon.monitoring.progress import Progress
from daemon.monitoring.status_file import StatusFile
from daemon.monitoring.systemd import Notifier
from daemon.watching.watcher import WatcherStatus
from models.classifier import Classifier
from models.text.language import tr

#: Seconds between two reports, and the longest time between two writings of the metrics.
_REPORT_SECONDS, _METRICS_SECONDS = 1.0, 60.0


class Monitor:
    """Reports the daemon's health. All but `metrics`, `latest` and `stalled` run on the work loop's thread, so that a
    watchdog ping proves progress.

    ``status`` is the file that ``python -m daemon status`` reads, ``metrics`` the one for Prometheus. Both are written
    when something has changed; the metrics also once a minute, since they carry the time of the last progress.
    ``output_away`` says why nothing can be filed into the output, if so. ``keeps_metrics``: the metrics stay after
    the end, for a run that ends by itself.
    """

    def __init__(
        self,
        notifier: Notifier,
        tally: Tally,
        *,
        status: StatusFile | None = None,
        metrics: StatusFile | None = None,
        hook: Hooks | None = None,
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
        self._bar = Progress(shows_bar=False) if progress is None else progress
        self._clock = clock
        self._next_report = -math.inf
        self._health: Health | None = None
        self._reported_at = 0.0
        #: Time of the work loop's last step; None before the first.
        self.last_step: float | None = None
        self._publishing = threading.Lock()

    @property
    def tick(self) -> float:
        """Longest time, in seconds, between two calls of `stepped`."""
        return self._notifier.sign_seconds or math.inf

    def ready(self, watcher: Callable[[], WatcherStatus]) -> None:
        """Report that the inboxes are watched and the model is warmed up."""
        self._tally.record_errors()
        self._notifier.ready()
        self.stepped(watcher)

    def outcome(self, outcome: Outcome) -> None:
        """Count the outcome of an image, and pass it to the hook."""
        self._tally.outcome(outcome)
        if self._hook is not None:
            self._hook.outcome(outcome)

    def labelled(self, labels: Mapping[How, int]) -> None:
        """Count what people said of images."""
        self._tally.labelled(labels)

    @property
    def summary(self) -> str:
        """Images by outcome, in the words of `status`; "" before the first."""
        return counted(self._tally.images)

    def batch_ended(self) -> None:
        """Flush the hook: all images of this step were dealt with."""
        if self._hook is not None:
            self._hook.flush()

    def took_over(self, classifier: Classifier) -> None:
        """Note that another model is in use."""
        self._tally.took_over(classifier)

    def stepped(self, watcher: Callable[[], WatcherStatus]) -> None:
        """Report that the work loop made a step; ``watcher`` is called once a second at most."""
        self._notifier.alive()
        now = self.last_step = self._clock()
        if now >= self._next_report:
            self._report(watcher, now)

    def report(self, watcher: Callable[[], WatcherStatus]) -> None:
        """Report what has just changed, without waiting for the next second."""
        self._report(watcher, self._clock())

    def _report(self, watcher: Callable[[], WatcherStatus], now: float) -> None:
        self._next_report = now + _REPORT_SECONDS
        self._reported_at = time.time()
        self._tally.output_away = self._output_away()
        health = self._tally.health(watcher())
        self._bar.update(sum(health.images.values()), health.waiting + health.in_flight, about=health.about)
        self._publish(health)

    def metrics(self) -> str:
        """Render the metrics as of the last report. Safe in another thread."""
        return "" if self._health is None else render(self._health, self._reported_at)

    @property
    def latest(self) -> Health | None:
        """Health as of the last report; None before the first. Safe in another thread."""
        return self._health

    def stalled(self, inbox: str | None, seconds: float) -> None:
        """Report that there was no progress for so long, because of ``inbox`` if given. Safe in another thread."""
        if self._health is not None:
            stall = StallHealth(inbox=inbox, since=time.time() - seconds)
            self._publish(self._health.model_copy(update={"stall": stall}))

    def _publish(self, health: Health) -> None:
        with self._publishing:
            self._write_files(health)

    def _write_files(self, health: Health) -> None:
        changed = health != self._health
        self._health = health
        if self._metrics is not None and (changed or self._clock() >= self._metrics_until):
            self._metrics_until = self._clock() + _METRICS_SECONDS
            self._metrics.write(self.metrics())
        if changed:
            if self._status is not None:
                self._status.write(health.model_dump_json())
            self._notifier.status(sentence(health))

    def reconfiguring(self) -> None:
        """Tell systemd that the settings are about to be read again."""
        self._notifier.reloading()

    def adopt(self, settings: Settings, taken: frozenset[str]) -> None:
        """Apply the settings named in ``taken``, after they were read again."""
        if "metrics_file" in taken:
            if self._metrics is not None:
                self._metrics.remove()
            self._metrics = metrics_file(settings)
            self._metrics_until = -math.inf
        if taken.intersection(("on_filed", "on_filed_seconds", "rules")):
            if self._hook is not None:
                self._hook.retire()
            self._hook = hook_of(settings)
        self._tally.record_errors()
        self._notifier.ready()

    def stopping(self, watcher: WatcherStatus) -> None:
        """Report that no more images are taken, and close the hook."""
        self._bar.close()
        self._notifier.stopping()
        self._publish(self._tally.health(watcher, stopped=True))
        if self._metrics is not None and not self._keeps_metrics:
            self._metrics.remove()  # a daemon that has ended has no metrics
        if self._hook is not None:
            self._hook.close()
        self._tally.stop_recording()


def sentence(health: Health) -> str:
    """Summarise the health in one line for ``systemctl status``."""
    missing = [inbox.path for inbox in health.inboxes if inbox.missing]
    parts = [tr("missing: {inboxes}", inboxes=", ".join(missing))] if missing else []
    if health.output_away:
        parts.append(tr("not there: {output}", output=health.output))
    parts += [tr("not there: {output}", output=output) for output, why in health.other_outputs.items() if why]
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
    """Make the file for the metrics, which another user's node_exporter may read; None without the setting."""
    path = settings.metrics_file
    return None if path is None else StatusFile(path, 0o644)


def hook_of(settings: Settings) -> Hooks | None:
    """Make what runs after filing; None without a command."""
    rules = settings.class_rules
    return Hooks(rules, settings.on_filed_seconds) if rules.commands else None
