"""Whatever a new model changes comes through the same door: backbones, weights, plug-ins, classes, threshold."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from daemon.filing.filer import Filer
from daemon.journal.journal import Journal
from daemon.monitoring.messages import describe_change
from daemon.pipeline import Pipeline
from daemon.reloading.loader import CheckpointOptions
from daemon.reloading.pipeline_settings import PipelineSettings
from daemon.reloading.reloader import Reloader
from models import allowed, registry
from models.classifier import Classifier
from models.inference.runtime import open_extractor
from models.registry import Backbone
from models.weights.store import WeightsStore
from tests.conftest import random_weights
from tests.pictures import KINDS, files_below, save
from tests.processes import ROOT, environment, wait_for
from tests.publishing import Heads, point_at

PLUGIN = ROOT / "tests" / "example_plugin"

Part = tuple[str, str | None]


class Door:
    """Publishes, reloads and files: what a daemon does when it goes over to another model."""

    def __init__(self, folder: Path, store: WeightsStore) -> None:
        self.folder, self.store = folder, store
        self.checkpoints = folder / "checkpoints"
        self.reloader = Reloader(
            CheckpointOptions(location=self.checkpoints, threads=1), store, Journal(folder / "journal")
        )
        self.pipeline: Pipeline | None = None
        self._count = 0

    def publish(self, parts: Sequence[Backbone], names: Sequence[str], threshold: float) -> str:
        self._count += 1
        heads = Heads(open_extractor(parts, self.store, threads=1), self.folder / "examples")
        run = self.checkpoints / f"run-{self._count}"
        digest = heads.write(run, names, threshold=threshold)
        point_at(run, digest)
        return digest

    def go_over(self, parts: Sequence[Backbone], names: Sequence[str], threshold: float = 0.0) -> Classifier:
        """Publish a model, take it over, and file a picture of each of its classes by it."""
        digest = self.publish(parts, names, threshold)
        if self.pipeline is None:
            classifier = self.reloader.first()
            filer = Filer(self.folder / "sorted")
            self.pipeline = Pipeline(classifier, filer, _pipeline_settings(), threads=1)
        else:
            self.pipeline.classifier = classifier = self._next()
        assert classifier.digest == digest
        pictures = [
            save(kind, 1, self.folder / "inbox" / f"{self._count}{kind}.png")
            for kind, _ in zip(KINDS, names, strict=False)
        ]
        outcomes = list(self.pipeline.process(pictures))
        assert {outcome.label for outcome in outcomes if outcome.label} <= set(names)
        assert len(outcomes) == len(pictures)
        return classifier

    def _next(self) -> Classifier:
        found: list[Classifier] = []

        def look() -> bool:
            found.extend(filter(None, [self.reloader.poll()]))
            return bool(found)

        wait_for(look, "the model that was published")
        return found[0]

    def close(self) -> None:
        if self.pipeline is not None:
            self.pipeline.close()


def _pipeline_settings() -> PipelineSettings:
    return PipelineSettings(
        threshold=None,
        others_dir="others",
        quarantine_dir="quarantine",
        batch_size=4,
        max_pixels=10**6,
        max_bytes=10**6,
    )


@pytest.fixture
def door(tmp_path: Path, store: WeightsStore) -> Iterator[Door]:
    door = Door(tmp_path, store)
    yield door
    door.close()


@pytest.fixture
def locate(store: WeightsStore) -> Callable[[Part], Backbone]:
    return lambda part: registry.locate(part[0], part[1], store)


@pytest.mark.timeout(600)  # several graphs are made
def test_modes_classes_and_thresholds_change_without_a_restart(
    door: Door, locate: Callable[[Part], Backbone], tiny_clip: Path
) -> None:
    lite, clip = locate((registry.EMBEDDED, None)), locate(("clip", str(tiny_clip)))
    first = door.go_over([lite], ["stripes", "discs"])
    second = door.go_over([clip], ["stripes"])
    both = door.go_over([lite, clip], ["stripes", "discs", "fog"])
    assert describe_change(second, both) == ("efficientnet_lite0+clip, 3 classes; new: discs, fog; kept: stripes")
    assert both.extractor.engine_of(clip) is second.extractor.engine_of(clip)
    assert both.extractor.engine_of(lite) is not first.extractor.engine_of(lite)  # it was let go of in between
    sure = door.go_over([lite, clip], ["stripes", "discs", "fog"], threshold=0.01)
    assert sure.extractor is both.extractor
    assert door.pipeline is not None
    assert "others" not in files_below(door.folder / "sorted")
    door.go_over([lite, clip], ["stripes", "discs"], threshold=1.0)
    assert files_below(door.folder / "sorted")["others"] == ["5discs.png", "5stripes.png"]
    assert set(files_below(door.folder / "sorted")) == {"stripes", "discs", "fog", "others"}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example plug-in, installed for this process and for its children, for as long as the test runs."""
    site = tmp_path / "site"
    shutil.copytree(PLUGIN / "imagesortd_example", site / "imagesortd_example")
    about = site / "imagesortd_example-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: imagesortd-example\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[imagesortd.backbones]\nexample = imagesortd_example.regions\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{site}")
    registry.entries()
    before = registry.snapshot()
    allowed.allow_plugins(["example"])
    yield
    registry.restore(before)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("plugin")
def test_plug_ins_compositions_and_other_weights_come_through_the_same_door(
    door: Door, locate: Callable[[Part], Backbone], tiny_mobilenet_small: Path, tmp_path: Path
) -> None:
    lite, regions = locate((registry.EMBEDDED, None)), locate(("regions", None))
    small = locate(("mobilenet_small", str(tiny_mobilenet_small)))
    door.go_over([lite], ["stripes", "discs"])
    door.go_over([regions], ["a", "b", "c", "d"])
    both = door.go_over([lite, regions], ["stripes", "discs"])
    old = door.go_over([lite, small], ["a", "b"])
    assert old.extractor.engine_of(lite) is both.extractor.engine_of(lite)
    elsewhere = locate(("mobilenet_small", str(random_weights("mobilenet_v3_small", tmp_path, seed=1))))
    new = door.go_over([lite, elsewhere], ["a", "b"])
    assert new.extractor.engine_of(lite) is old.extractor.engine_of(lite)
    assert new.extractor.engine_of(small) is None


HEAD_ONLY = """
import sys, time
from pathlib import Path
from daemon.journal.journal import Journal
from daemon.reloading.loader import CheckpointOptions
from daemon.reloading.reloader import Reloader
from models.weights.store import WeightsStore
from tests.publishing import point_at

folder = Path(sys.argv[1])
reloader = Reloader(CheckpointOptions(location=folder, threads=1), WeightsStore(), Journal(folder.parent / "journal"))
old = reloader.first()
point_at(folder / "run-2", sys.argv[2])
while (new := reloader.poll()) is None:
    time.sleep(0.001)
assert new.digest == sys.argv[2] and new.extractor is old.extractor
print(sorted({"torch", "transformers", "timm", "torchvision"} & set(sys.modules)))
"""


def test_another_head_is_taken_over_without_torch(door: Door, store: WeightsStore) -> None:
    lite = registry.locate(registry.EMBEDDED, None, store)
    first, second = (door.publish([lite], names, 0.0) for names in (["a", "b"], ["c", "d"]))
    point_at(door.checkpoints / "run-1", first)
    command = [sys.executable, "-c", HEAD_ONLY, str(door.checkpoints), second]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
