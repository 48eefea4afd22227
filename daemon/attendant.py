"""Who goes along with the work loop: tells systemd how things stand, and reads the settings again."""

from __future__ import annotations

import math

from daemon.notify import Notifier
from daemon.pipeline import Pipeline
from daemon.reconfigure import Configuration, apply
from daemon.reload import Reloader


class Attendant:
    """Everything is called on the work loop's own thread, so that a sign of life means that images get on."""

    def __init__(self, notifier: Notifier | None = None, configuration: Configuration | None = None) -> None:
        self._notifier = notifier or Notifier()
        self._configuration = configuration

    @property
    def tick(self) -> float:
        """The longest time, in seconds, between two calls of `progress`."""
        return self._notifier.sign_seconds or math.inf

    def progress(self) -> None:
        """The work got a step further, or there was nothing to do."""
        self._notifier.alive()

    def reconfigure(self, pipeline: Pipeline) -> Reloader | None:
        """Read the settings again; a reloader in the place of the one in use, where another model is asked for."""
        if self._configuration is None:
            return None
        self._notifier.reloading()
        taken = self._configuration.refresh()
        reloader = apply(self._configuration.settings, taken, pipeline)
        self._notifier.ready()
        return reloader

    def ready(self) -> None:
        """The watch is armed and the model is warm."""
        self._notifier.ready()
        self._notifier.status("watching")

    def stopping(self) -> None:
        """No more images are taken."""
        self._notifier.stopping()
