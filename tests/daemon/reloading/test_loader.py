"""A classifier on its way into memory, in another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from daemon.decoding.decoder import Decoded, Task
from daemon.filing.filer import Filer
from daemon.pipeline import ModelFailed, Pipeline
from daemon.reloading.loader import ComingClassifier
from daemon.reloading.pipeline_settings import PipelineSettings
from models.checkpoints.checkpoint import FILE_NAME, read, write
from models.classifier import Classifier, open_classifier
from models.decoding.images import Transform
from models.errors import CheckpointError
from models.weights.store import WeightsStore
from tests.daemon.conftest import Publish
from tests.pictures import save
from tests.processes import run

OnTransforms = Callable[[Sequence[Transform]], None]

SETTINGS = PipelineSettings(
    threshold=0.0, others_dir="others", quarantine_dir="quarantine", batch_size=4, max_pixels=10**7, max_bytes=1 << 20
)


@pytest.fixture(scope="module")
def checkpoint(publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("checkpoints") / "run"
    publish(run)
    return run


def held_until(event: threading.Event, checkpoint: Path, store: WeightsStore) -> Callable[[OnTransforms], Classifier]:
    """Return a function that tells the transforms at once and opens the checkpoint after the event."""

    def open_it(on_transforms: OnTransforms) -> Classifier:
        def tell(transforms: Sequence[Transform]) -> None:
            on_transforms(transforms)
            assert event.wait(300)

        return open_classifier(checkpoint, store, on_transforms=tell)

    return open_it


def test_what_is_to_be_decoded_is_known_before_it_can_predict(checkpoint: Path, store: WeightsStore) -> None:
    may_come = threading.Event()

    coming = ComingClassifier(held_until(may_come, checkpoint, store))
    transforms = coming.transforms
    may_come.set()
    real = open_classifier(checkpoint, store)
    assert transforms == real.transforms == coming.transforms
    assert (coming.digest, coming.classes, coming.metadata) == (real.digest, real.classes, real.metadata)
    coming.wait()
    coming.close()


def test_images_are_decoded_meanwhile(checkpoint: Path, store: WeightsStore, tmp_path: Path) -> None:
    image = save("fog", 1, tmp_path / "inbox" / "a.jpg")
    decoded = threading.Event()

    coming = ComingClassifier(held_until(decoded, checkpoint, store))
    pipeline = Pipeline(coming, Filer(tmp_path / "sorted"), SETTINGS, threads=1)
    submit = pipeline.decoders.submit

    def watched(task: Task) -> Future[Decoded]:
        future = submit(task)
        future.add_done_callback(lambda _: decoded.set())
        return future

    pipeline.decoders.submit = watched  # type: ignore[method-assign]
    with closing(pipeline):
        (outcome,) = pipeline.process([image])
    assert outcome.destination == tmp_path / "sorted" / "fog" / "a.jpg"


@pytest.mark.parametrize("late", [False, True])
def test_what_keeps_it_from_coming_is_raised_and_the_images_stay(tmp_path: Path, late: bool) -> None:
    image = save("fog", 1, tmp_path / "inbox" / "a.jpg")

    def open_it(on_transforms: OnTransforms) -> Classifier:
        if late:
            on_transforms([Transform(resize=32, crop=32, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1))])
        raise CheckpointError("it computes something else")

    coming = ComingClassifier(open_it)
    pipeline = Pipeline(coming, Filer(tmp_path / "sorted"), SETTINGS, threads=1)
    expected = ModelFailed if late else CheckpointError
    with closing(pipeline), pytest.raises(expected, match="it computes something else"):
        list(pipeline.process([image]))
    with pytest.raises(CheckpointError, match="it computes something else"):
        coming.wait()
    assert image.is_file()


@pytest.mark.parametrize("images", [0, 1])
def test_sorting_with_a_model_that_computes_otherwise_is_one_sentence(
    publish: Publish, tmp_path: Path, images: int
) -> None:
    publish(tmp_path / "run")
    path = tmp_path / "run" / FILE_NAME
    found = read(path)
    path.unlink()
    write(replace(found, head=replace(found.head, bias=found.head.bias + np.arange(4, dtype=np.float32) * 9)), path)
    (tmp_path / "inbox").mkdir()
    for seed in range(images):
        save("fog", seed, tmp_path / "inbox" / f"{seed}.jpg")
    folders = ["--input-dir", "inbox", "--output-dir", "sorted"]
    done = run("daemon", "sort", *folders, "--checkpoint", "run", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "its golden samples give different results" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "sorted").exists()
