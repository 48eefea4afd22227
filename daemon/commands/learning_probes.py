"""Check whether the daemon can learn from what people correct."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.commands.probes import Finding, fine, note, with_advice, wrong
from daemon.config import Settings
from daemon.learning.base_run import find_obstacle, is_one_checkpoint
from models.text.language import tr


def learning_findings(settings: Settings) -> Iterator[Finding]:
    """Check that lessons can be published where the settings say."""
    if settings.learn == "off":
        yield fine("learning", tr("nothing is learned from what people correct: learn is off"))
    elif (obstacle := find_obstacle(settings.checkpoint)) is not None:
        is_one = is_one_checkpoint(settings.checkpoint)
        make = wrong if settings.learn == "on" and not is_one else note  # one checkpoint may be what its user wants
        yield make("learning", *with_advice(obstacle))
    elif settings.checkpoint.is_dir():
        yield fine("learning", tr("lessons may be published in {checkpoints}", checkpoints=settings.checkpoint))
