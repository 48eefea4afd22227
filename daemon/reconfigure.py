"""SIGHUP: the settings are read anew, and what can be is taken over; on a mistake those in use stay."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from loguru import logger

from daemon.config import RULES_KEY, Settings
from daemon.monitoring.logs import start_logging
from daemon.pipeline import Pipeline
from daemon.reloading.loader import CheckpointOptions, check_names
from daemon.reloading.pipeline_settings import PipelineSettings
from daemon.reloading.reloader import Reloader
from models.errors import UserError
from models.text.language import reason, tr
from models.text.printable import shown

_LIMITS = ("max_megapixels", "max_file_mb", "decode_memory_mb", "decode_seconds")
#: What `PipelineSettings.from_settings` takes.
_PIPELINE = ("threshold", "others_dir", "quarantine_dir", "batch_size", "rules", "burst_seconds", *_LIMITS)
_LOGGING = ("log_level", "log_json")
_MODEL = ("checkpoint", "precision", "probation_images", "others_dir", "quarantine_dir")

_LEARNING = ("learn", "learn_quiet_seconds", "learn_every_seconds", "learn_seconds", "learn_memory_mb")
_ALARMS = ("alarms", "alarm_free_mb", "alerts", "alerts_file")

#: What a running daemon takes over; every other setting needs a restart.
TAKEN_OVER = frozenset(
    {*_PIPELINE, *_LOGGING, *_MODEL, *_LEARNING, *_ALARMS, "metrics_file", "on_filed", "on_filed_seconds"}
)


class Reread(NamedTuple):
    """What came of reading the settings again: the names of those that changed, or why all stay."""

    taken: frozenset[str] = frozenset()
    need_restart: frozenset[str] = frozenset()
    error: str | None = None


def names_of(keys: Collection[str]) -> list[str]:
    """Name settings as people write them."""
    return sorted(RULES_KEY if key == "rules" else key for key in keys)


class Configuration:
    """Settings in use, and how to read them again."""

    def __init__(self, settings: Settings, reread: Callable[[], Settings]) -> None:
        self.settings = settings
        self._outputs = frozenset(settings.outputs)  # that are locked, and not watched
        #: What came of it the last time.
        self.reread = Reread()
        self._reread = reread

    def refresh(self, pipeline: Pipeline, reloader: Reloader) -> frozenset[str]:
        """Read the settings again and apply those that can change while running; returns their names."""
        taken = self.take_over(reloader.classes)
        apply(self.settings, taken, pipeline, reloader)
        return taken

    def take_over(self, classes: Sequence[str]) -> frozenset[str]:
        """Read the settings again and take over what can be; returns the names of those settings.

        ``classes`` are those of the models that may be in use for as long as the settings.
        """
        try:
            new = self._reread()
            self._check(new, classes)
        except (UserError, OSError) as error:
            logger.error(tr("the settings in use stay: {error}", error=error))
            self.reread = Reread(error=reason(error))
            return frozenset()
        changed = {key for key in Settings.model_fields if getattr(new, key) != getattr(self.settings, key)}
        taken = changed & TAKEN_OVER
        outputs = {name: rule.output for name, rule in new.rules.items() if rule.output not in (None, *self._outputs)}
        if outputs:
            taken -= {"rules"}
            name, output = next(iter(outputs.items()))
            text = tr(
                "the rules of classes stay as they are: {place} is another output ({output}), which needs a restart",
                place=shown(f'{RULES_KEY}."{name}".output'),
                output=output,
            )
            logger.warning(text)
        self.settings = self.settings.model_copy(update={key: getattr(new, key) for key in taken})
        if taken:
            logger.info(tr("took over new settings: {names}", names=", ".join(names_of(taken))))
        if others := names_of(changed - taken):
            logger.warning(tr("these new settings need a restart: {names}", names=", ".join(others)))
        if not changed:
            logger.info(tr("the settings were read again: nothing has changed"))
        self.reread = Reread(frozenset(names_of(taken)), frozenset(others))
        return frozenset(taken)

    def _check(self, new: Settings, classes: Sequence[str]) -> None:
        """Refuse what a start would refuse, as far as that is known before another model is loaded."""
        check_names(self.settings.checkpoint, classes, new.other_folders)
        if (
            new.checkpoint != self.settings.checkpoint
            and CheckpointOptions.from_settings(new).source.find_or_raise() is None
        ):
            logger.warning(
                tr(
                    "nothing is published in {checkpoint} yet: until then the model in use stays",
                    checkpoint=new.checkpoint,
                )
            )


def apply(settings: Settings, taken: frozenset[str], pipeline: Pipeline, reloader: Reloader) -> None:
    """Apply the changed settings."""
    if taken.intersection(_LOGGING):
        start_logging(settings.log_level, as_json=settings.log_json)
    if taken.intersection(_PIPELINE):
        pipeline.adopt(PipelineSettings.from_settings(settings))
    if taken.intersection(_MODEL):
        reloader.adopt(settings)
