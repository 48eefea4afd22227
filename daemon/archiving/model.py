"""The model of a job: its checkpoint, opened as ``sort`` opens it, and the rule in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from loguru import logger

from daemon.archiving.ranking import RankingClassifier
from daemon.config import Settings
from daemon.reloading.checkpoint_source import CheckpointFile
from daemon.reloading.loader import CheckpointOpener, CheckpointOptions
from daemon.reloading.pipeline_settings import PipelineSettings
from daemon.reloading.threshold import in_force
from models.allowed import allow_plugins
from models.deciding.rule import DecisionRule
from models.decoding.images import Transform
from models.weights.store import WeightsStore


@dataclass(frozen=True)
class Model:
    """A classifier, and the rule that decides by what it predicts."""

    classifier: RankingClassifier
    rule: DecisionRule

    @property
    def digest(self) -> str:
        """SHA-256 of the checkpoint."""
        return self.classifier.digest

    @property
    def transforms(self) -> Sequence[Transform]:
        """What images are decoded to."""
        return self.classifier.transforms


def published(settings: Settings) -> CheckpointFile:
    """Find the checkpoint in use, or the starter model. Raises `CheckpointError`."""
    opener = _opener(settings)
    return opener.options.source.find_or_raise() or opener.starter()


def open_model(settings: Settings, checkpoint: CheckpointFile) -> Model:
    """Open a checkpoint, and prove it. Raises `CheckpointError` and `WeightsUnavailable`."""
    allow_plugins(settings.plugins)
    classifier = _opener(settings).open(checkpoint.path, checkpoint.digest, None)
    threshold = in_force(PipelineSettings.from_settings(settings).threshold, classifier.metadata)
    logger.info("{}", threshold)
    if threshold.rolled_up:
        logger.info("{}", threshold.rolled_up)
    return Model(RankingClassifier(classifier), threshold.rule)


def _opener(settings: Settings) -> CheckpointOpener:
    options = replace(CheckpointOptions.from_settings(settings), batch=0)
    return CheckpointOpener(options, WeightsStore(settings.cache_dir))
