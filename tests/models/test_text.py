"""The text towers of CLIP and SigLIP give what transformers' own models give for the same texts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models import registry
from models.compat import import_torchvision
from models.errors import WeightsUnavailable
from models.registry import TextTower
from models.weights.store import WeightsStore

Floats = npt.NDArray[np.float32]


@pytest.fixture(params=["tiny_clip", "tiny_siglip"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def tower_of(folder: Path, store: WeightsStore) -> TextTower:
    backbone = registry.locate("clip", str(folder), store)
    assert backbone.text is not None
    return backbone.text()


def model_and_tokens(folder: Path, texts: Sequence[str], length: int) -> tuple[Any, Any]:
    import_torchvision()
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return model, tokenizer(
        texts,
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
        return_token_type_ids=False,
    )


def test_embeddings_and_logits_are_those_of_the_whole_model(folder: Path, store: WeightsStore) -> None:
    import torch

    tower = tower_of(folder, store)
    texts = ["a dog", "cat"]
    embeddings = tower.embed(texts)
    model, tokens = model_and_tokens(folder, texts, 16)
    with torch.inference_mode():
        pixels = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        outputs = model(pixel_values=pixels, **tokens)
    images = outputs.image_embeds.numpy()
    cosines = images @ (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).T
    np.testing.assert_allclose(
        tower.scale * cosines + tower.bias, outputs.logits_per_image.numpy(), rtol=1e-4, atol=1e-4
    )


def test_a_text_has_one_embedding_whatever_it_is_read_beside(folder: Path, store: WeightsStore) -> None:
    tower = tower_of(folder, store)
    many = tower.embed(["a dog", "cat " * 5, *["dog"] * 70, "a dog"])  # more than go through at once
    assert many.shape == (73, registry.locate("clip", str(folder), store).width)
    np.testing.assert_allclose(many[0], many[-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(many[0], tower.embed(["a dog"])[0], rtol=1e-4, atol=1e-6)
    assert not np.allclose(many[0], many[1])


def test_long_texts_are_cut_and_capitals_mean_nothing(folder: Path, store: WeightsStore) -> None:
    tower = tower_of(folder, store)
    assert np.isfinite(tower.embed(["dog cat " * 200])).all()
    np.testing.assert_allclose(tower.embed(["Dog"]), tower.embed(["dog"]), rtol=1e-6)


def test_a_text_is_read_where_every_character_is_known(tiny_clip: Path, tiny_siglip: Path, store: WeightsStore) -> None:
    clip, siglip = tower_of(tiny_clip, store), tower_of(tiny_siglip, store)
    assert clip.reads("A dog")
    assert not clip.reads("강아지")
    assert siglip.reads("개")
    assert not siglip.reads("강아지")


def test_bytes_that_stand_for_half_a_character_are_not_reading(
    tiny_clip: Path, tmp_path: Path, store: WeightsStore
) -> None:
    """CLIP's real vocabulary has every byte, so that nothing is unknown to it."""
    folder = Path(shutil.copytree(tiny_clip, tmp_path / "clip"))
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    for name in ("ê", "°", "ķ</w>"):  # how byte-level vocabularies write the three bytes of 강
        vocabulary[name] = len(vocabulary)
    path.write_text(json.dumps(content))
    assert not tower_of(folder, store).reads("강")


def test_a_missing_or_broken_tokenizer_is_one_sentence(tiny_clip: Path, tmp_path: Path, store: WeightsStore) -> None:
    folder = Path(shutil.copytree(tiny_clip, tmp_path / "clip"))
    (folder / "vocab.json").unlink()
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsUnavailable, match="the tokenizer in .* cannot be loaded"):
        tower_of(folder, store)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(WeightsUnavailable, match="there is no tokenizer in .*/clip: fetch"):
        tower_of(folder, store)
