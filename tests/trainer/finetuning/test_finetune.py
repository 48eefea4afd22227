from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import Array
from models.classifier import open_classifier
from models.errors import UserError
from models.inference.runtime import locate_backbones
from models.registry import Backbone
from models.text.commandline import run
from models.weights.store import WeightsStore
from tests.trainer.conftest import COLOURS
from tests.trainer.tuning import side, start, tune
from trainer.__main__ import main
from trainer.data.dataset import Sample
from trainer.finetuning import finetune, trunk
from trainer.finetuning.augment import Batch, batches
from trainer.finetuning.course import LabelledSamples
from trainer.finetuning.finetune import FineTuneOptions
from trainer.fit import fit
from trainer.fitted import FitOptions
from trainer.heads.linear import Linear
from trainer.measuring.calibration import Labels

pytestmark = pytest.mark.usefixtures("whole")


def run_of(parts: tuple[Backbone, ...], *, mixed: bool, epochs: int = 1, lr: float = 1e-3) -> finetune.FineTuner:
    head, scaling = start(sum(part.width for part in parts))
    weight = 0.1 * np.random.default_rng(0).standard_normal(head.weight.shape, np.float32)
    head = Linear(weight.astype(np.float32), head.bias)
    options = FineTuneOptions(epochs=epochs, lr=lr, batch_size=8)
    return finetune.FineTuner(finetune.Net(parts, head, scaling), torch.device("cpu"), parts, options, mixed=mixed)


def test_the_weights_change_and_the_images_are_learned(clip: tuple[Backbone, ...], colours: Path) -> None:
    tuned, epochs, said = tune(clip, colours, FineTuneOptions(epochs=4, lr=3e-3, batch_size=8))
    before = clip[0].module().state_dict()
    after = tuned["clip"]
    assert before.keys() == after.keys()
    changed = {name for name in before if not np.array_equal(before[name].numpy(), after[name])}
    assert any(name.startswith("projection") for name in changed)
    assert any("layers.1." in name for name in changed)
    assert epochs[-1].train_loss < epochs[0].train_loss
    before_it, after_it = said
    assert re.fullmatch(
        r"4 epochs of 54 images will take about \d+ (seconds?|minutes?) on the [CG]PU, if nothing else keeps it busy",
        before_it,
    )
    assert re.fullmatch(r"4 epochs took \d+ \w+; \d+ \w+ were expected", after_it)


def test_the_seed_decides_everything(clip: tuple[Backbone, ...], colours: Path) -> None:
    first, second, other = (
        tune(clip, colours, FineTuneOptions(epochs=1, lr=1e-3, batch_size=16, seed=seed))[0]["clip"]
        for seed in (0, 0, 1)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_the_best_epoch_is_restored(clip: tuple[Backbone, ...], colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[dict[str, torch.Tensor]] = []
    losses = iter([0.9, 0.5, 0.3, 0.7, 0.8])  # the first is of the estimate

    def check(run: finetune.FineTuner, _: LabelledSamples) -> tuple[float, float]:
        states.append(run.net.trained_state())
        return next(losses), 0.5

    monkeypatch.setattr(finetune.FineTuner, "check", check)
    tuned, epochs, _ = tune(clip, colours, FineTuneOptions(epochs=4, lr=1e-3, batch_size=16))
    assert [epoch.held_out_loss for epoch in epochs] == [0.5, 0.3, 0.7, 0.8]
    best = {name.removeprefix("parts.0.module."): value.numpy() for name, value in states[2].items()}
    assert all(np.array_equal(tuned["clip"][name], value) for name, value in best.items() if name in tuned["clip"])
    assert any(not np.array_equal(states[2][name], states[4][name]) for name in states[2])


def test_the_estimate_changes_nothing(clip: tuple[Backbone, ...], colours: Path) -> None:
    run = run_of(clip, mixed=False)
    before = run.net.trained_state()
    assert run.seconds_per_epoch(side(colours, 0, 18), side(colours, 18, 24)) > 0
    after = run.net.trained_state()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in run.net.parameters())


def test_mixed_precision_computes_in_bfloat16_over_float32_weights(clip: tuple[Backbone, ...], colours: Path) -> None:
    """What a GPU does; autocast does the same on a CPU, where it is not worth it."""
    plain, mixed = run_of(clip, mixed=False), run_of(clip, mixed=True)
    train = side(colours, 0, 6)
    batch = next(batches(train.samples, mixed.transforms, 8))
    seen: list[torch.dtype] = []
    mixed.net.parts[0].register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    loss = float(mixed.loss(batch, train.labels[batch.rows]).detach())
    assert seen == [torch.bfloat16]
    assert loss == pytest.approx(float(plain.loss(batch, train.labels[batch.rows]).detach()), abs=0.05)
    before = mixed.net.trained_state()
    assert np.isfinite(mixed.train(train, 1))
    assert {parameter.dtype for parameter in mixed.net.parameters()} == {torch.float32}
    assert any(not torch.equal(before[name], value) for name, value in mixed.net.trained_state().items())


def test_the_learning_rate_rises_and_falls_to_nothing() -> None:
    rates = [finetune.learning_rate(step / 100, 1e-3) for step in range(1, 101)]
    top = int(np.argmax(rates))
    assert 0 < top < 20
    assert rates[top] == pytest.approx(1e-3, rel=0.05)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_patience_ends_it(clip: tuple[Backbone, ...], colours: Path) -> None:
    _, epochs, _ = tune(clip, colours, FineTuneOptions(epochs=9, lr=1e-12, batch_size=16, patience=1))
    assert len(epochs) == 2


def test_a_loss_that_is_no_number_names_the_images(
    clip: tuple[Backbone, ...], colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune.FineTuner, "loss", lambda *_: torch.tensor(torch.nan, requires_grad=True))
    with pytest.raises(UserError, match=r"diverged in epoch 1 on a batch with (blue|green|red)/\d+\.png.*--ft-lr"):
        tune(clip, colours, FineTuneOptions(epochs=1, batch_size=8))


def test_a_slope_that_is_no_number_names_the_images_it_is_of_and_not_the_next(
    clip: tuple[Backbone, ...], colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = finetune.FineTuner.loss
    rows: list[list[int]] = []

    def steep(run: finetune.FineTuner, batch: Batch, labels: Labels) -> torch.Tensor:
        rows.append(batch.rows.tolist())
        weight = run.net.weight
        return loss(run, batch, labels) + (weight - weight.detach()).square().sum().sqrt()  # 0, but of no slope

    monkeypatch.setattr(finetune.FineTuner, "loss", steep)
    train = side(colours, 0, 6)
    with pytest.raises(UserError, match="diverged") as raised:
        run_of(clip, mixed=False).train(train, 1)
    (first,) = rows
    assert all(train.samples[row].name in str(raised.value) for row in first)


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
    finetune.unfreeze_top(module)
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
    colours: Path,
    tiny_clip: Path,
    store: WeightsStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    exports_here: None,
) -> None:
    monkeypatch.setattr(finetune, "fine_tune", learned)
    monkeypatch.setattr("trainer.fit.clearly_lower", lambda *_: True)
    outcome = fit(options(colours, tmp_path / "runs", tiny_clip))
    found = checkpoints.read(outcome.run / checkpoints.FILE_NAME)
    (part,) = found.metadata.parts
    (original,) = locate_backbones("clip", {"clip": str(tiny_clip)}, store)
    assert part.fine_tuned
    assert part.digest != original.digest
    expected = learned((original,))["clip"]
    assert all(np.array_equal(found.backbones["clip"][name], tensor) for name, tensor in expected.items())
    elsewhere = open_classifier(outcome.run, WeightsStore(tmp_path / "another cache"))  # proves the golden samples
    assert elsewhere.classes == sorted(COLOURS)
    assert "flatter it a little" in capsys.readouterr().out
    report = (outcome.run / "report.txt").read_text(encoding="utf-8")
    assert report.startswith(f"{len(outcome.predictions.labels)} of 72 images were held out. ")  # once, and not in turn
    assert "that flatters these figures" in report


def test_fine_tuning_that_does_not_win_is_not_kept(
    colours: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trainer.fit.clearly_lower", lambda *_: False)
    monkeypatch.setattr("trainer.fit.tuned_backbone", lambda part, *_: part)  # which saves the export of another
    outcome = fit(options(colours, tmp_path / "runs", tiny_clip))
    assert checkpoints.read(outcome.run / checkpoints.FILE_NAME).backbones == {}
    assert "not kept" in capsys.readouterr().out
    stages = [line.split(",")[0] for line in (outcome.run / "history.csv").read_text().splitlines()[1:]]
    assert stages == ["head", "head", "fine-tune", "fine-tune"]


@pytest.mark.slow
def test_cut_in_two_it_learns_the_same(
    clip: tuple[Backbone, ...], colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = FineTuneOptions(epochs=1, lr=1e-3, batch_size=16)
    before, _, _ = tune(clip, colours, settings)
    monkeypatch.setattr(finetune, "cut", trunk.cut)
    after, _, _ = tune(clip, colours, settings)
    assert before["clip"].keys() == after["clip"].keys()
    for name, tensor in before["clip"].items():
        np.testing.assert_allclose(after["clip"][name], tensor, atol=1e-3)


@pytest.mark.slow
def test_the_embedded_backbone_is_fine_tuned_from_the_command_line(colours: Path, tmp_path: Path) -> None:
    command = ["fit", "--data-dir", str(colours), "--mode", "efficientnet_lite0", "--fine_tune", "--ft_epochs", "1"]
    assert run(main, [*command, "--output-dir", str(tmp_path), "--max-samples", "8"]) == 0
    assert checkpoints.load(tmp_path).metadata.classes == sorted(COLOURS)
