from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from models.decoding.images import decode
from trainer.data.neighbours import Groups, group_images
from trainer.data.perceptual_hash import HASH_TRANSFORM, PerceptualHash, hash_image


def scene(seed: int) -> Image.Image:
    """A made-up picture with coarse and fine structure, 240 x 180."""
    random = np.random.default_rng(seed)
    layers = [Image.fromarray(random.integers(0, 256, (size, size, 3), dtype=np.uint8)) for size in (4, 9, 30)]
    fields = [np.asarray(layer.resize((240, 180), Image.Resampling.BICUBIC), np.float32) for layer in layers]
    return Image.fromarray((fields[0] * 0.5 + fields[1] * 0.3 + fields[2] * 0.2).astype(np.uint8))


def look(picture: Image.Image, quality: int = 90) -> PerceptualHash:
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    [square] = decode(file, [HASH_TRANSFORM])
    return hash_image(file.getvalue(), square)


def found(hashes: Sequence[PerceptualHash], labels: Sequence[str] | None = None) -> Groups:
    """The groups of different files, of one class unless something else is said."""
    return group_images([f"{number:064x}" for number in range(len(hashes))], hashes, labels or ["cat"] * len(hashes))


def grouped(hashes: Sequence[PerceptualHash]) -> list[int]:
    first: list[int] = found(hashes).first.tolist()
    return first


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
    hashes = [look(picture) for picture in pictures] + [VARIANTS[variant](picture) for picture in pictures]
    assert grouped(hashes) == list(range(20)) * 2


@pytest.mark.parametrize("turn", [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90])
def test_a_turned_picture_is_another(turn: Image.Transpose) -> None:
    assert grouped([look(scene(0)), look(scene(0).transpose(turn))]) == [0, 1]


def test_different_pictures_stay_apart() -> None:
    assert grouped([look(scene(seed)) for seed in range(100)]) == list(range(100))


def test_pictures_of_one_colour_are_not_taken_for_each_other() -> None:
    hashes = [look(Image.new("RGB", (100, 100), colour)) for colour in ("white", "black", "snow")]
    assert grouped(hashes) == [0, 1, 2]


def test_copies_are_one_whatever_they_look_like() -> None:
    plain, other = look(Image.new("RGB", (100, 100))), look(scene(1))
    alike = group_images(["a", "b", "a", "b", "c"], [plain, other, plain, other, plain], ["cat"] * 5)
    assert alike.first.tolist() == [0, 1, 0, 1, 4]


def test_what_is_joined_by_way_of_a_third_is_one_group() -> None:
    shots = [look(scene(3).crop((3 * step, 0, 180 + 3 * step, 180))) for step in range(12)]
    assert grouped([shots[0], shots[11]]) == [0, 1]
    assert grouped([look(scene(4)), *shots[::-1]]) == [0] + [1] * 12


def test_nothing_has_no_groups() -> None:
    assert grouped([]) == []


def sight(view: Image.Image, seed: int, animal: int | None) -> PerceptualHash:
    """A picture of a camera that stands still: its noise, and at a place of its own something that was not there."""
    random = np.random.default_rng(seed)
    pixels = np.asarray(view, np.int16) + random.integers(-4, 5, (*view.size[::-1], 1))
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if animal is not None:
        picture.paste(scene(animal).resize((40, 30)), (int(random.integers(200)), int(random.integers(150))))
    return look(picture)


def test_pictures_of_a_still_camera_judge_each_other() -> None:
    view, other = scene(0), [look(scene(seed)) for seed in range(100, 120)]
    deer = [sight(view, seed, 500) for seed in range(20)]
    foxes = [sight(view, seed, 501) for seed in range(20, 40)]
    labels = ["deer"] * 20 + ["fox"] * 20
    assert found(deer[:10] + foxes[:2], labels[8:20]).first.tolist() == [0] * 12  # so few may be one picture
    several = found([*deer, *foxes], labels)
    assert len(set(several.first.tolist())) > 30
    assert several.parted.all()
    one = found([*deer, *other], ["deer"] * 40)  # half of a class can be held out
    assert one.first.tolist() == [0] * 20 + list(range(20, 40))
    assert not one.parted.any()
    most = found([*deer, *other[:19]], ["deer"] * 39)
    assert len(set(most.first[:20].tolist())) > 15
    assert most.parted.tolist() == [True] * 20 + [False] * 19


def test_what_nothing_has_changed_on_a_still_camera_stays_one_picture() -> None:
    view = scene(0)
    bursts = [sight(view, seed, animal=None if seed % 2 else 500 + seed) for seed in range(20)]
    first = found(bursts).first.tolist()
    assert first[1::2] == [1] * 10
    assert len(set(first)) > 8


def test_a_view_in_which_hardly_anything_changes_is_parted_into_its_copies() -> None:
    hashes = [sight(scene(0), seed, None) for seed in range(20)]
    pictures = [f"{number // 2:064x}" for number in range(20)]
    alike = group_images(pictures, hashes, ["cat", "dog"] * 10)
    assert alike.first.tolist() == [number // 2 * 2 for number in range(20)]
    assert alike.parted.all()


def test_one_label_that_is_wrong_makes_no_view_of_a_picture() -> None:
    shots = [look(scene(3), quality) for quality in range(60, 80)]
    others = [look(scene(seed)) for seed in range(10, 50)]
    labels = ["cat"] * 19 + ["dog"] + ["cat"] * 20 + ["dog"] * 20
    assert found([*shots, *others], labels).first[:20].tolist() == [0] * 20
