from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models import registry
from models.errors import WeightsUnavailable
from models.registry import Backbone, TextTower
from models.weights.store import WeightsStore
from trainer.heads.prompts import KOREAN_TEMPLATES, TEMPLATES, plain_prompts, read_texts, text_embeddings


@pytest.fixture
def clip(tiny_clip: Path, store: WeightsStore) -> Backbone:
    return registry.locate("clip", str(tiny_clip), store)


@pytest.fixture
def siglip(tiny_siglip: Path, store: WeightsStore) -> Backbone:
    return registry.locate("clip", str(tiny_siglip), store)


def test_every_name_goes_into_several_templates() -> None:
    made = plain_prompts(["hot_dog", "강아지"])
    assert made["hot_dog"][0] == "a photo of a hot dog."
    assert "강아지 사진" in made["강아지"]
    assert [len(prompts) for prompts in made.values()] == [len(TEMPLATES), len(KOREAN_TEMPLATES)]
    assert all("{}" not in prompt for prompts in made.values() for prompt in prompts)


def test_each_part_that_reads_gives_unit_vectors_and_the_others_nothing(
    clip: Backbone, tiny_mobilenet: Path, store: WeightsStore
) -> None:
    mobilenet = registry.locate("mobilenet", str(tiny_mobilenet), store)
    looks, meaning = text_embeddings([mobilenet, clip], ["dog", "cat"])
    assert looks is None
    assert meaning is not None
    assert meaning.shape == (2, clip.width)
    assert meaning.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(meaning, axis=1), 1, rtol=1e-6)
    assert not np.allclose(meaning[0], meaning[1])


def test_classes_keep_their_order_whatever_the_order_of_the_prompts(clip: Backbone) -> None:
    prompts = {"cat": ["a cat"], "dog": ["a dog", "a puppy"]}
    (forward,), (backward,) = (text_embeddings([clip], order, prompts) for order in (["cat", "dog"], ["dog", "cat"]))
    assert forward is not None
    assert backward is not None
    np.testing.assert_allclose(forward, backward[::-1], rtol=1e-5)


def test_prompts_are_averaged_by_direction(clip: Backbone) -> None:
    vectors = {"x": [4.0, 0.0], "y": [0.0, 0.5]}

    def embed(prompts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.array([vectors[prompt] for prompt in prompts], np.float32)

    tower = TextTower(embed=embed, scale=1.0, bias=0.0, reads=lambda text: text != "y")
    texts = read_texts(replace(clip, text=lambda: tower), {"both": ["x", "y"], "one": ["x"]})
    assert texts is not None
    np.testing.assert_allclose(texts.embeddings, [[0.5**0.5, 0.5**0.5], [1, 0]], rtol=1e-6)
    assert texts.unread == ["both"]


def test_names_in_a_script_that_the_tokenizer_lacks_are_told(clip: Backbone, siglip: Backbone) -> None:
    prompts = {"dog": ["dog"], "개": ["개"], "강아지": ["강아지"]}
    for backbone, unread in ((clip, ["개", "강아지"]), (siglip, ["강아지"])):
        texts = read_texts(backbone, prompts)
        assert texts is not None
        assert texts.unread == unread


def test_a_part_without_a_tokenizer_does_without_names(clip: Backbone, logged: list[str]) -> None:
    def missing() -> TextTower:
        raise WeightsUnavailable("there is no tokenizer")

    assert text_embeddings([replace(clip, text=missing)], ["dog", "cat"]) == [None]
    assert any("clip does without the names of the classes: there is no tokenizer" in line for line in logged)
