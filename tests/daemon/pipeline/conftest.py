"""A pipeline with a real classifier, whose filer needs no journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.filing.filer import Filer
from daemon.pipeline import Pipeline
from daemon.reloading.pipeline_settings import PipelineSettings
from models.classifier import Classifier, open_classifier
from models.weights.store import WeightsStore
from tests.daemon.conftest import Publish

SETTINGS = PipelineSettings(
    threshold=0.0, others_dir="others", quarantine_dir="quarantine", batch_size=4, max_pixels=10**7, max_bytes=1 << 20
)


@pytest.fixture(scope="module")
def classifier(publish: Publish, store: WeightsStore, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    checkpoints = tmp_path_factory.mktemp("checkpoints")
    publish(checkpoints / "run")
    return open_classifier(checkpoints, store)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def pipeline(classifier: Classifier, tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(classifier, Filer(tmp_path / "sorted"), SETTINGS, threads=2)
    yield made
    made.close()
