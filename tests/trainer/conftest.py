"""Small generated pictures in class folders, and a run that was fitted on them with the real embedded backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from models.inference.runtime import locate_backbones
from models.registry import Backbone
from models.weights.store import WeightsStore
from trainer.fit import FitOutcome, fit
from trainer.fitted import FitOptions

#: Builds a folder of class folders, ``count`` pictures in each.
MakeShapes = Callable[..., Path]

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}


def draw(shape: str, seed: int) -> Image.Image:
    """A ``circle``, ``square`` or ``cross`` of a random colour, size and place on noise; the same for the same seed."""
    random = np.random.default_rng([seed, len(shape)])
    picture = Image.fromarray(random.integers(90, 166, (64, 64, 3), dtype=np.uint8))
    pen = ImageDraw.Draw(picture)
    side = int(random.integers(24, 40))
    left, top = (int(value) for value in random.integers(4, 60 - side, 2))
    colour = tuple(int(value) for value in random.integers(0, 2, 3) * 255)
    box = (left, top, left + side, top + side)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.line(box, fill=colour, width=7)
        pen.line((left + side, top, left, top + side), fill=colour, width=7)
    return picture


def make_shapes(root: Path, count: int, labels: Sequence[str] = ("circle", "cross", "square"), first: int = 0) -> Path:
    """``root/<label>/<number>.png``; the shape of a label goes by its position."""
    for label, shape in zip(labels, ("circle", "cross", "square"), strict=False):
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            draw(shape, number).save(root / label / f"{number:03}.png")
    return root


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures out of reports, but where a test is about them: they take longer than a fit of few pictures.

    The run that many tests share (``fitted``) has them.
    """
    if "drawn" not in request.keywords and request.path.parent.name != "reports":
        monkeypatch.setattr("trainer.reports.report.draw_figures", lambda *_: None)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 circles, 24 crosses and 24 squares. Not to be changed."""
    return make_shapes(tmp_path_factory.mktemp("shapes"), 24)


@pytest.fixture(scope="session")
def fitted(shapes: Path, store: WeightsStore, tmp_path_factory: pytest.TempPathFactory) -> FitOutcome:
    """A published run on ``shapes``. Not to be changed."""
    assert store.root.is_absolute()
    folder = tmp_path_factory.mktemp("runs") / "checkpoints"
    return fit(FitOptions(data_dir=shapes, mode="efficientnet_lite0", output_dir=folder))


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 noisy pictures of each of three colours: what even a backbone that knows nothing can learn."""
    root = tmp_path_factory.mktemp("colours")
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir()
        for number in range(24):
            noise = random.normal(0, 40, (64, 64, 3)) + random.normal(0, 60, 3)
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:03}.png")
    return root


@pytest.fixture
def clip(tiny_clip: Path, store: WeightsStore) -> tuple[Backbone, ...]:
    return locate_backbones("clip", {"clip": str(tiny_clip)}, store)


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backbones are not cut in two, nor computed in threads: on a few small images that takes longer than it saves."""
    monkeypatch.setattr("trainer.finetuning.finetune.cut", lambda *_: None)
    monkeypatch.setattr("trainer.finetuning.finetune.cores", lambda: 1)
