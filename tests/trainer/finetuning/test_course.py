"""Fine-tuning that is interrupted goes on to the very result it would have had."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.registry import Backbone
from tests.trainer.tuning import side, start, tune
from trainer.finetuning import finetune
from trainer.finetuning.course import LabelledSamples, course_digest
from trainer.finetuning.finetune import FineTuneOptions
from trainer.heads.linear import Epoch, Scaling
from trainer.runs import resume
from trainer.runs.resume import UnfinishedFit

pytestmark = pytest.mark.usefixtures("whole")

OPTIONS = FineTuneOptions(epochs=3, lr=3e-3, batch_size=16)


class Killed(Exception):
    pass


def interrupt(
    in_epoch: int, clip: tuple[Backbone, ...], colours: Path, place: UnfinishedFit, options: FineTuneOptions = OPTIONS
) -> None:
    """Fine-tune until the middle of an epoch: its weights have changed, nothing of it is kept."""

    def train(run: finetune.FineTuner, side: LabelledSamples, epoch: int) -> float:
        loss = original(run, side, epoch)
        if epoch == in_epoch:
            raise Killed
        return loss

    original = finetune.FineTuner.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune.FineTuner, "train", train)
        with pytest.raises(Killed):
            tune(clip, colours, options, place)


def losses(epochs: list[Epoch]) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.held_out_loss) for epoch in epochs]


@pytest.mark.parametrize("in_epoch", [2, *(pytest.param(epoch, marks=pytest.mark.slow) for epoch in (1, 3))])
def test_an_interrupted_one_has_the_very_same_result(
    in_epoch: int, clip: tuple[Backbone, ...], colours: Path, place: UnfinishedFit
) -> None:
    expected, epochs, _ = tune(clip, colours, OPTIONS)
    interrupt(in_epoch, clip, colours, place)
    found, again, said = tune(clip, colours, OPTIONS, place)
    assert all(np.array_equal(found["clip"][name], tensor) for name, tensor in expected["clip"].items())
    assert losses(again) == losses(epochs)
    assert ("resumes after epoch" in said[0]) == (in_epoch > 1)


def test_the_best_epoch_so_far_is_kept_too(
    clip: tuple[Backbone, ...], colours: Path, place: UnfinishedFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first epoch is the best; of the others only the weights count for what is learned next."""

    def check(run: finetune.FineTuner, _: object) -> tuple[float, float]:
        return float(run.steps_made), 0.5

    monkeypatch.setattr(finetune.FineTuner, "check", check)
    options = FineTuneOptions(epochs=4, lr=3e-3, batch_size=16, patience=2)
    expected, epochs, _ = tune(clip, colours, options)
    interrupt(3, clip, colours, place, options)
    found, again, _ = tune(clip, colours, options, place)
    assert all(np.array_equal(found["clip"][name], tensor) for name, tensor in expected["clip"].items())
    assert len(epochs) == len(again) == 3  # patience counts epochs from before the interruption


def test_one_that_had_come_to_its_end_learns_no_more(
    clip: tuple[Backbone, ...], colours: Path, place: UnfinishedFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, epochs, _ = tune(clip, colours, OPTIONS, place)
    monkeypatch.setattr(finetune.FineTuner, "train", None)
    found, again, said = tune(clip, colours, OPTIONS, place)
    assert all(np.array_equal(found["clip"][name], tensor) for name, tensor in expected["clip"].items())
    assert again == epochs
    assert said == ["resumes after epoch 3, the last of the interrupted fit"]


def test_progress_of_other_images_or_another_head_is_refused(
    clip: tuple[Backbone, ...], colours: Path, place: UnfinishedFit
) -> None:
    interrupt(2, clip, colours, place)
    _, epochs, said = tune(clip, colours, OPTIONS, place, first=1)
    assert said[0] == "the saved progress is of other images or another head, so fine-tuning starts again"
    assert len(epochs) == 3


def test_all_that_decides_the_result_is_in_the_digest(clip: tuple[Backbone, ...], colours: Path) -> None:
    head, scaling = start(24)
    usual = course_digest(clip, head, scaling, [side(colours, 0, 18), side(colours, 18, 24)], OPTIONS)
    assert usual == course_digest(clip, head, scaling, [side(colours, 0, 18), side(colours, 18, 24)], OPTIONS)
    head.bias[1] = 1e-6
    others = [
        course_digest(clip, head, scaling, [side(colours, 0, 18), side(colours, 18, 24)], OPTIONS),
        course_digest(clip, *start(24), [side(colours, 0, 18), side(colours, 17, 24)], OPTIONS),
        course_digest(clip, *start(24), [side(colours, 0, 18), side(colours, 18, 24)], replace(OPTIONS, seed=1)),
        course_digest(
            clip,
            start(24)[0],
            Scaling(scaling.mean, 2 * scaling.scale),
            [side(colours, 0, 18), side(colours, 18, 24)],
            OPTIONS,
        ),
    ]
    assert len({usual, *others}) == 5


def test_a_full_disk_does_not_end_it(
    clip: tuple[Backbone, ...], colours: Path, place: UnfinishedFit, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(resume, "atomic_file", full)
    _, epochs, _ = tune(clip, colours, OPTIONS, place)
    assert len(epochs) == 3
    assert any("is not saved" in line and "No space left on device" in line for line in logged)
