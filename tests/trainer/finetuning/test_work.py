from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from models.registry import Backbone
from models.weights.store import WeightsStore
from tests.trainer.tuning import side, start
from trainer.data.dataset import Sample
from trainer.finetuning.course import LabelledSamples
from trainer.finetuning.finetune import FineTuneOptions
from trainer.finetuning.group import Payload
from trainer.finetuning.work import Work, read_work, require_images


@pytest.fixture
def work(clip: tuple[Backbone, ...], colours: Path) -> Work:
    return Work(clip, *start(24), side(colours, 0, 2), side(colours, 2, 3), FineTuneOptions(batch_size=7, lr=0.5))


def test_another_rank_reads_what_the_first_one_hands_out(work: Work, store: WeightsStore) -> None:
    read = read_work(work.payload(), store)
    assert [(part.name, part.digest) for part in read.parts] == [(part.name, part.digest) for part in work.parts]
    assert read.options == work.options
    for found, expected in ((read.train, work.train), (read.held_out, work.held_out)):
        assert [(sample.path, sample.name) for sample in found.samples] == [
            (sample.path, sample.name) for sample in expected.samples
        ]
        np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(read.head.weight, work.head.weight)
    np.testing.assert_array_equal(read.scaling.scale, work.scaling.scale)
    require_images(read)


def test_other_weights_on_another_machine_are_refused(work: Work, store: WeightsStore) -> None:
    payload = work.payload()
    parts = [(name, source, "0" * 64) for name, source, _ in payload.state["parts"]]
    with pytest.raises(UserError, match="the weights of clip differ between the machines"):
        read_work(Payload(payload.arrays, payload.state | {"parts": parts}), store)


def test_images_that_another_machine_does_not_see_are_named(work: Work, tmp_path: Path) -> None:
    unshared = Sample(tmp_path / "개.jpg", "개.jpg", "", "")
    held_out = LabelledSamples([*work.held_out.samples, unshared], np.append(work.held_out.labels, 0))
    with pytest.raises(UserError, match=r"개\.jpg is not there on one of the machines"):
        require_images(Work(work.parts, work.head, work.scaling, work.train, held_out, work.options))
