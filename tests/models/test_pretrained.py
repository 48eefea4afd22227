"""Heads over what a backbone was pretrained to say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoints.checkpoint import Checkpoint, Head, Metadata, PartRecord, Pretrained, read, write
from models.checkpoints.metadata import Unknown
from models.classifier import make_checkpoint, open_classifier
from models.errors import CheckpointError
from models.inference.runtime import locate_backbones, open_extractor
from models.scoring import head_probabilities, head_strangeness, likeness
from models.weights.store import WeightsStore
from tests.conftest import crops
from tests.models.small_checkpoints import (
    pretrained_checkpoint,
    record,
    refusal,
    small_checkpoint,
    split,
    with_metadata,
)


def f32(*shape: int, fill: float = 0.0) -> Any:
    return np.full(shape, fill, np.float32)


def raw(count: int, scale: float = 5.0) -> Any:
    return np.random.default_rng(3).normal(scale=scale, size=(count, 4)).astype(np.float32)


def test_inputs_are_the_roots_of_the_probabilities_at_temperature_2() -> None:
    pretrained = pretrained_checkpoint().head.pretrained
    assert pretrained is not None
    features = raw(7)
    for row, got in zip(features.astype(np.float64), likeness(features, pretrained), strict=True):
        scores = np.exp((pretrained.weight @ row + pretrained.bias) / 2)
        np.testing.assert_allclose(got, np.sqrt(scores / scores.sum()), rtol=1e-4, atol=1e-6)


def test_inputs_of_an_image_do_not_depend_on_the_others_and_features_of_any_size_have_some() -> None:
    pretrained = pretrained_checkpoint().head.pretrained
    assert pretrained is not None
    features = raw(7)
    alone = np.concatenate([likeness(row[None], pretrained) for row in features])
    np.testing.assert_allclose(likeness(features, pretrained), alone, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose((likeness(raw(7, 1e6), pretrained) ** 2).sum(axis=1), 1, rtol=1e-5)


def test_probabilities_and_strangeness_are_of_these_inputs() -> None:
    checkpoint = pretrained_checkpoint()
    metadata, head, features = checkpoint.metadata, checkpoint.head, raw(7)
    assert head.pretrained is not None
    # The same head without it, on inputs that were made before: they are taken as they are.
    plain = metadata.model_copy(update={"normalisation": "none", "parts": [record("one", 6)]})
    inputs, without = likeness(features, head.pretrained), dataclasses.replace(head, pretrained=None)
    np.testing.assert_array_equal(
        head_probabilities(metadata, head, features), head_probabilities(plain, without, inputs)
    )
    np.testing.assert_array_equal(head_strangeness(metadata, head, features), head_strangeness(plain, without, inputs))
    assert (head_strangeness(metadata, head, features) > 0).all()


def test_the_weight_is_kept_in_two_bytes_a_value_and_loses_nothing_by_it(path: Path) -> None:
    checkpoint = pretrained_checkpoint()
    write(checkpoint, path)
    assert split(path.read_bytes())[0]["pretrained.weight"]["dtype"] == "F16"
    back, features = read(path), raw(5)
    np.testing.assert_array_equal(
        head_probabilities(back.metadata, back.head, features),
        head_probabilities(checkpoint.metadata, checkpoint.head, features),
    )


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: pretrained_checkpoint(pretrained=None), "pretrained.weight is missing"),
        (
            lambda: pretrained_checkpoint(pretrained=Pretrained(f32(6, 5), f32(6))),
            r"pretrained.weight is float16\[6, 5\], expected float16\[None, 4\]",
        ),
        (
            lambda: pretrained_checkpoint(pretrained=Pretrained(f32(6, 4), f32(5))),
            r"pretrained.bias is float32\[5\], expected float32\[6\]",
        ),
        (
            lambda: pretrained_checkpoint(pretrained=Pretrained(f32(0, 4), f32(0))),
            "pretrained.weight has no classes",
        ),
        (
            lambda: pretrained_checkpoint(pretrained=Pretrained(f32(6, 4, fill=np.nan), f32(6))),
            "pretrained.weight holds values that are not numbers",
        ),
        (
            lambda: pretrained_checkpoint(pretrained=Pretrained(f32(6, 4), f32(6, fill=np.inf))),
            "pretrained.bias holds values that are not numbers",
        ),
        (lambda: pretrained_checkpoint(weight=f32(5, 4)), r"head.weight is float32\[5, 4\], expected .*\[None, 6\]"),
        (lambda: pretrained_checkpoint(basis=f32(2, 4)), r"unknown.basis is float32\[2, 4\], expected .*\[None, 6\]"),
        (
            lambda: dataclasses.replace(
                small_checkpoint(),
                head=dataclasses.replace(
                    small_checkpoint().head, pretrained=Pretrained.rounded(f32(6, 4, fill=0.1), f32(6))
                ),
            ),
            "do not belong there: pretrained.bias, pretrained.weight",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(path: Path, wrong: Callable[[], Checkpoint], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        write(wrong(), path)


def test_a_fine_tuned_backbone_is_no_longer_the_one_that_was_pretrained(path: Path) -> None:
    write(pretrained_checkpoint(), path)
    tuned = record("one", 4, fine_tuned=True).model_dump()
    assert "takes a single backbone, and no fine-tuned one" in refusal(
        path, with_metadata(path.read_bytes(), parts=[tuned])
    )


def test_it_is_proved_and_served_like_any_other(store: WeightsStore, path: Path) -> None:
    (backbone,) = locate_backbones("efficientnet_lite0", {}, store)
    assert backbone.imagenet_head is not None
    extractor, random = open_extractor([backbone], store), np.random.default_rng(0)
    head = Head(
        weight=random.normal(size=(2, 1000)).astype(np.float32),
        bias=f32(2),
        mean=f32(1000, fill=0.03),
        scale=f32(1000, fill=3.0),
        basis=np.eye(4, 1000, dtype=np.float32),
        pretrained=Pretrained.rounded(*backbone.imagenet_head()),
    )
    metadata = Metadata(
        mode="efficientnet_lite0",
        parts=[PartRecord.from_backbone(backbone)],
        classes=["ant", "bee"],
        normalisation="pretrained",
        unknown=Unknown(limit=2.0, refused=0.01),
    )
    write(make_checkpoint(metadata, head, extractor), path)
    assert 2 << 20 < path.stat().st_size < 3 << 20
    classifier = open_classifier(path, store)
    images = [crops(3, backbone.transform.crop)]
    expected = head_probabilities(metadata, head, extractor.features(images))
    np.testing.assert_array_equal(classifier.probabilities(images), expected)
    after_reload = open_classifier(path, store, reuse=classifier)
    np.testing.assert_array_equal(after_reload.probabilities(images), expected)
    # Another classifier than the one it was made with is noticed.
    pretrained = Pretrained(head.pretrained.weight[::-1], head.pretrained.bias) if head.pretrained else None
    forged = dataclasses.replace(
        make_checkpoint(metadata, head, extractor), head=dataclasses.replace(head, pretrained=pretrained)
    )
    write(forged, path.parent / "forged.safetensors")
    with pytest.raises(CheckpointError, match="golden samples give different results"):
        open_classifier(path.parent / "forged.safetensors", store)
