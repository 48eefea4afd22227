from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from models.images import decode
from trainer.looks import GLANCE, Look, look_at
from trainer.neighbours import groups


def scene(seed: int) -> Image.Image:
    """A made-up picture with coarse and fine structure, 240 x 180."""
    random = np.random.default_rng(seed)
    layers = [Image.fromarray(random.integers(0, 256, (size, size, 3), dtype=np.uint8)) for size in (4, 9, 30)]
    fields = [np.asarray(layer.resize((240, 180), Image.Resampling.BICUBIC), np.float32) for layer in layers]
    return Image.fromarray((fields[0] * 0.5 + fields[1] * 0.3 + fields[2] * 0.2).astype(np.uint8))


def look(picture: Image.Image, quality: int = 90) -> Look:
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    [glance] = decode(file, [GLANCE])
    return look_at(file.getvalue(), glance)


def grouped(looks: Sequence[Look]) -> list[int]:
    found: list[int] = groups([f"{number:064x}" for number in range(len(looks))], looks).tolist()
    return found


VARIANTS = {
    "smaller": lambda picture: look(picture.resize((144, 108))),
    "larger": lambda picture: look(picture.resize((480, 360))),
    "re-encoded": lambda picture: look(picture, quality=50),
    "brighter": lambda picture: look(ImageEnhance.Brightness(picture).enhance(1.2)),
    "with more contrast": lambda picture: look(ImageEnhance.Contrast(picture).enhance(1.2)),
    "cropped a little": lambda picture: look(picture.crop((3, 2, 237, 178))),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_picture_is_known_again(variant: str) -> None:
    pictures = [scene(seed) for seed in range(20)]
    looks = [look(picture) for picture in pictures] + [VARIANTS[variant](picture) for picture in pictures]
    assert grouped(looks) == list(range(20)) * 2


@pytest.mark.parametrize("turn", [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90])
def test_a_turned_picture_is_another(turn: Image.Transpose) -> None:
    assert grouped([look(scene(0)), look(scene(0).transpose(turn))]) == [0, 1]


def test_different_pictures_stay_apart() -> None:
    assert grouped([look(scene(seed)) for seed in range(100)]) == list(range(100))


def test_pictures_of_one_colour_are_not_taken_for_each_other() -> None:
    looks = [look(Image.new("RGB", (100, 100), colour)) for colour in ("white", "black", "snow")]
    assert grouped(looks) == [0, 1, 2]


def test_copies_are_one_whatever_they_look_like() -> None:
    plain, other = look(Image.new("RGB", (100, 100))), look(scene(1))
    assert groups(["a", "b", "a", "b", "c"], [plain, other, plain, other, plain]).tolist() == [0, 1, 0, 1, 4]


def test_what_is_joined_by_way_of_a_third_is_one_group() -> None:
    shots = [look(scene(3).crop((3 * step, 0, 180 + 3 * step, 180))) for step in range(12)]
    assert grouped([shots[0], shots[11]]) == [0, 1]
    assert grouped([look(scene(4)), *shots[::-1]]) == [0] + [1] * 12


def test_nothing_has_no_groups() -> None:
    assert grouped([]) == []
