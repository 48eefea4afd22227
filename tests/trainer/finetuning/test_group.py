"""Ranks as threads of this process, connected by gloo: what they tell each other, and what they fine-tune together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import distributed

from models.errors import UserError
from models.registry import Backbone
from tests.trainer.tuning import side, start
from trainer.data.dataset import Sample
from trainer.finetuning import finetune
from trainer.finetuning.augment import Batch
from trainer.finetuning.course import LabelledSamples
from trainer.finetuning.finetune import FineTuneOptions, fine_tune
from trainer.finetuning.group import Group, Payload
from trainer.finetuning.ranks import PeerLost, Rank
from trainer.heads.linear import Epoch
from trainer.measuring.calibration import Labels
from trainer.runs.resume import UnfinishedFit

pytestmark = pytest.mark.usefixtures("whole")

_Result = TypeVar("_Result")


def together(count: int, act: Callable[[Group], _Result]) -> list[_Result]:
    """What ``act`` returns on each of so many ranks, the first of which comes first."""
    store = distributed.HashStore()

    def run(number: int) -> _Result:
        wire = distributed.ProcessGroupGloo(store, number, count, timedelta(seconds=60))
        return act(Group(Rank(number, count, number, count), wire, "cpu"))

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def test_what_the_first_rank_knows_the_others_know() -> None:
    arrays = {"a": np.arange(6, dtype=np.int64).reshape(2, 3), "step": np.array(2.5), "none": np.zeros((0, 4))}
    payload = Payload(arrays, {"path": "개/\udce9.jpg"})

    def act(group: Group) -> tuple[Payload | None, Payload | None, list[float], float]:
        first = group.rank.is_first
        numbers = group.from_first([0.1 if first else 0.2])
        total = group.sum(np.array([float(group.rank.number)]))
        return group.share(payload if first else None), group.share(None), numbers, float(total[0])

    for received, nothing, numbers, total in together(3, act):
        assert received is not None
        assert nothing is None
        assert received.state == payload.state
        assert numbers == [0.1]
        assert total == 3
        for name, array in arrays.items():
            assert received.arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(received.arrays[name], array)


def test_gradients_are_those_of_all_images_whatever_the_shares() -> None:
    images = torch.arange(7.0).reshape(7, 1)

    def act(group: Group, rows: list[int] | None = None) -> tuple[torch.nn.Parameter, torch.nn.Parameter, float, int]:
        weight, unused = torch.nn.Parameter(torch.ones(1, 2)), torch.nn.Parameter(torch.ones(3))
        own = images[[[0, 1, 2, 3], [4, 5, 6], []][group.rank.number] if rows is None else rows]
        loss = 0.0
        if len(own):
            mean = (own @ weight).square().mean()
            mean.backward()  # type: ignore[no-untyped-call]
            loss = float(mean.detach())
        found, count = group.mean_gradients([weight, unused], loss, len(own))
        return weight, unused, found, count

    expected, _, loss, _ = act(Group(device="cpu"), list(range(7)))
    for weight, unused, found, count in together(3, act):
        assert weight.grad is not None
        assert expected.grad is not None
        torch.testing.assert_close(weight.grad, expected.grad)
        assert unused.grad is None  # or a step would decay it
        assert found == pytest.approx(loss)
        assert count == 7


def test_a_rank_that_is_gone_is_noticed() -> None:
    def act(group: Group) -> str:
        if not group.rank.is_first:
            return ""
        with pytest.raises(PeerLost):
            group.sum(np.zeros(1))
        return "noticed"

    assert together(2, act)[0] == "noticed"


def tuned(
    count: int, clip: tuple[Backbone, ...], colours: Path, options: FineTuneOptions, place: UnfinishedFit | None = None
) -> tuple[dict[str, Any], list[Epoch], list[str]]:
    """The weights, the epochs and what is said, by so many ranks; 54 images are no multiple of anything here."""
    train = side(colours, 0, 18)
    gone = Sample(colours / "gone.png", "gone.png", "red", "")
    train = LabelledSamples([*train.samples, gone], np.append(train.labels, 2))

    def act(group: Group) -> tuple[dict[str, Any], list[Epoch], list[str]]:
        epochs: list[Epoch] = []
        said: list[str] = []
        tell = (said.append, epochs.append)
        own = place if group.rank.is_first else None
        weights = fine_tune(clip, *start(24), train, side(colours, 18, 24), options, *tell, own, group)["clip"]
        return weights, epochs, said

    if count == 1:
        return act(Group(device="cpu"))
    first, *others = together(count, act)
    for _, epochs, _ in others:
        assert [(epoch.train_loss, epoch.held_out_loss) for epoch in epochs] == [
            (epoch.train_loss, epoch.held_out_loss) for epoch in first[1]
        ]
    return first


def assert_same(first: tuple[dict[str, Any], list[Epoch], list[str]], second: Any) -> None:
    assert len(first[1]) == len(second[1])
    for one, other in zip(first[1], second[1], strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-4)
        assert one.held_out_loss == pytest.approx(other.held_out_loss, abs=1e-4)
        assert one.held_out_accuracy == other.held_out_accuracy
    for name, tensor in first[0].items():
        np.testing.assert_allclose(second[0][name], tensor, atol=1e-3, err_msg=name)


OPTIONS = FineTuneOptions(epochs=2, lr=1e-3, batch_size=13)


def test_several_ranks_learn_the_same_as_one(clip: tuple[Backbone, ...], colours: Path) -> None:
    """Batches of 13 and a last one of 3, of which the fourth rank has nothing, and an image that is gone."""
    alone = tuned(1, clip, colours, OPTIONS)
    assert_same(alone, tuned(2, clip, colours, OPTIONS))
    assert_same(alone, tuned(4, clip, colours, OPTIONS))


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_what_some_began_others_go_on_with(
    before: int,
    after: int,
    clip: tuple[Backbone, ...],
    colours: Path,
    place: UnfinishedFit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = tuned(1, clip, colours, OPTIONS)
    train = finetune.FineTuner.train

    def interrupted(run: finetune.FineTuner, side: LabelledSamples, epoch: int) -> float:
        if epoch == 2:
            raise PeerLost
        return train(run, side, epoch)

    with monkeypatch.context() as patched:
        patched.setattr(finetune.FineTuner, "train", interrupted)
        with pytest.raises(PeerLost):
            tuned(before, clip, colours, OPTIONS, place)
    found = tuned(after, clip, colours, OPTIONS, place)
    assert any("resumes after epoch 1" in sentence for sentence in found[2])
    assert_same(expected, found)


def test_all_ranks_end_where_it_diverges(
    clip: tuple[Backbone, ...], colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = finetune.FineTuner.loss

    def diverging(run: finetune.FineTuner, batch: Batch, labels: Labels) -> torch.Tensor:
        is_first = batch.rows[0] == batch.drawn[0]
        return loss(run, batch, labels) * (1 if is_first else torch.nan)

    monkeypatch.setattr(finetune.FineTuner, "loss", diverging)

    def act(group: Group) -> str:
        given = (*start(24), side(colours, 0, 6), side(colours, 18, 24), replace(OPTIONS, batch_size=4))
        with pytest.raises(UserError, match="diverged") as raised:
            fine_tune(clip, *given, lambda _: None, lambda _: None, group=group)
        return str(raised.value)

    first, second = together(2, act)
    assert first == second
