from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import checkpoint as checkpoints
from models.checkpoint import Array
from models.classifier import open_classifier
from models.commandline import run
from models.errors import UserError
from models.registry import Backbone
from models.runtime import select
from models.weights import WeightsStore
from trainer import data, finetune
from trainer.__main__ import main
from trainer.augment import batches
from trainer.data import Sample
from trainer.finetune import FineTuneOptions, Side, fine_tune
from trainer.fit import fit
from trainer.fitted import FitOptions
from trainer.heads import Epoch, Linear, Scaling


@pytest.fixture
def clip(tiny_clip: Path, store: WeightsStore) -> tuple[Backbone, ...]:
    return select("clip", {"clip": str(tiny_clip)}, store)


COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}


@pytest.fixture(scope="module")
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


def side(root: Path, first: int, last: int) -> Side:
    files = [file for file in data.scan(root).files if first <= int(file.path.stem) < last]
    samples = [Sample(file.path, file.name, file.label, "") for file in files]
    return Side(samples, np.array([sorted(COLOURS).index(s.label) for s in samples], np.int64))


def start(width: int) -> tuple[Linear, Scaling]:
    head = Linear(np.zeros((3, width), np.float32), np.zeros(3, np.float32))
    return head, Scaling(np.zeros(width, np.float32), np.ones(width, np.float32))


def tune(
    parts: tuple[Backbone, ...], colours: Path, options: FineTuneOptions
) -> tuple[dict[str, dict[str, Array]], list[Epoch], list[str]]:
    epochs: list[Epoch] = []
    said: list[str] = []
    width = sum(part.width for part in parts)
    tuned = fine_tune(
        parts, *start(width), side(colours, 0, 18), side(colours, 18, 24), options, said.append, epochs.append
    )
    return tuned, epochs, said


def test_the_weights_change_and_the_images_are_learned(clip: tuple[Backbone, ...], colours: Path) -> None:
    tuned, epochs, said = tune(clip, colours, FineTuneOptions(epochs=4, lr=3e-3, batch_size=8))
    before = clip[0].module().state_dict()
    after = tuned["clip"]
    assert before.keys() == after.keys()
    changed = {name for name in before if not np.array_equal(before[name].numpy(), after[name])}
    assert any(name.startswith("projection") for name in changed)
    assert any("layers.1." in name for name in changed)
    assert epochs[-1].train_loss < epochs[0].train_loss
    assert len(said) == 1
    assert "4 epochs of 54 images" in said[0]
    assert re.search(r"at most about \d+ (seconds|minutes) on the [CG]PU$", said[0])


def test_patience_ends_it(clip: tuple[Backbone, ...], colours: Path) -> None:
    _, epochs, _ = tune(clip, colours, FineTuneOptions(epochs=9, lr=1e-12, batch_size=16, patience=1))
    assert len(epochs) == 2


def test_a_loss_that_is_no_number_names_the_images(
    clip: tuple[Backbone, ...], colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune._Run, "_loss", lambda *_: torch.tensor(torch.nan, requires_grad=True))
    with pytest.raises(UserError, match=r"diverged in epoch 1 on a batch with (blue|green|red)/\d+\.png.*--ft-lr"):
        tune(clip, colours, FineTuneOptions(epochs=1, batch_size=8))


def test_batches_hold_every_sample_once_in_another_order_each_epoch(colours: Path, clip: tuple[Backbone, ...]) -> None:
    samples = side(colours, 0, 24).samples
    transforms = [clip[0].transform]
    orders = [
        np.concatenate([batch.rows for batch in batches(samples, transforms, 7, shuffle=(0, epoch))]).tolist()
        for epoch in (1, 1, 2)
    ]
    assert sorted(orders[0]) == list(range(72))
    assert orders[0] == orders[1] != orders[2]
    plain = list(batches(samples, transforms, 100))
    assert plain[0].rows.tolist() == list(range(72))
    assert plain[0].crops[0].shape == (72, 64, 64, 3)


def test_augmented_crops_differ_by_epoch_and_not_by_run(colours: Path, clip: tuple[Backbone, ...]) -> None:
    samples = side(colours, 0, 1).samples
    crops = [
        {int(batch.rows[0]): batch.crops[0] for batch in batches(samples, [clip[0].transform], 1, shuffle=(0, epoch))}
        for epoch in (1, 1, 2)
    ]
    assert (crops[0][0] == crops[1][0]).all()
    assert (crops[0][0] != crops[2][0]).any()


def test_a_vanished_image_is_passed_over(colours: Path, clip: tuple[Backbone, ...], tmp_path: Path) -> None:
    samples = [*side(colours, 0, 1).samples, Sample(tmp_path / "gone.png", "gone.png", "circle", "")]
    found = list(batches(samples, [clip[0].transform], 10))
    assert found[0].rows.tolist() == [0, 1, 2]


def test_whole_stages_learn_from_the_top_until_they_hold_half_of_the_weights() -> None:
    module = torch.nn.Module()
    module.stem = torch.nn.Linear(10, 10)
    module.blocks = torch.nn.Sequential(
        *(torch.nn.Sequential(torch.nn.Linear(10, 10), torch.nn.Linear(10, 10)) for _ in range(4))
    )
    finetune._unfreeze_top(module)
    learning = {name.rsplit(".", 2)[0] for name, value in module.named_parameters() if value.requires_grad}
    assert learning == {"blocks.1", "blocks.2", "blocks.3"}


def options(root: Path, folder: Path, clip: Path) -> FitOptions:
    return FitOptions(
        data_dir=root,
        mode="clip",
        output_dir=folder,
        weights={"clip": str(clip)},
        epochs=2,
        fine_tune=True,
        ft_epochs=2,
    )


def learned(parts: tuple[Backbone, ...], *_: object) -> dict[str, dict[str, Array]]:
    """Stands for fine-tuning that found something: the weights, a little changed."""
    random = np.random.default_rng(0)
    return {
        part.name: {
            name: (
                tensor + 0.2 * random.normal(size=tensor.shape).astype(tensor.dtype)
                if tensor.dtype == np.float32
                else tensor
            )
            for name, tensor in ((name, tensor.numpy()) for name, tensor in part.module().state_dict().items())
        }
        for part in parts
    }


def test_a_fine_tuned_checkpoint_carries_its_weights_and_predicts_as_it_did(
    colours: Path, tiny_clip: Path, store: WeightsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "fine_tune", learned)
    monkeypatch.setattr("trainer.fit.clearly_lower", lambda *_: True)
    outcome = fit(options(colours, tmp_path / "runs", tiny_clip))
    found = checkpoints.read(outcome.run / checkpoints.FILE_NAME)
    (part,) = found.metadata.parts
    (original,) = select("clip", {"clip": str(tiny_clip)}, store)
    assert part.fine_tuned
    assert part.digest != original.digest
    expected = learned((original,))["clip"]
    assert all(np.array_equal(found.backbones["clip"][name], tensor) for name, tensor in expected.items())
    elsewhere = open_classifier(outcome.run, WeightsStore(tmp_path / "another cache"))  # proves the golden samples
    assert elsewhere.classes == sorted(COLOURS)


def test_fine_tuning_that_does_not_win_is_not_kept(
    colours: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trainer.fit.clearly_lower", lambda *_: False)
    outcome = fit(options(colours, tmp_path / "runs", tiny_clip))
    assert checkpoints.read(outcome.run / checkpoints.FILE_NAME).backbones == {}
    assert "not kept" in capsys.readouterr().out
    stages = [line.split(",")[0] for line in (outcome.run / "history.csv").read_text().splitlines()[1:]]
    assert stages == ["head", "head", "fine-tune", "fine-tune"]


@pytest.mark.slow
def test_the_embedded_backbone_is_fine_tuned_from_the_command_line(colours: Path, tmp_path: Path) -> None:
    command = ["fit", "--data-dir", str(colours), "--mode", "efficientnet_lite0", "--fine_tune", "--ft_epochs", "1"]
    assert run(main, [*command, "--output-dir", str(tmp_path), "--max-samples", "8"]) == 0
    assert checkpoints.load(tmp_path).metadata.classes == sorted(COLOURS)
