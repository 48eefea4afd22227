from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from models.decoding.images import decode
from trainer.data.perceptual_hash import HASH_TRANSFORM, PerceptualHash, hash_image


def look(picture: Image.Image, format_: str = "PNG", **options: object) -> PerceptualHash:
    file = BytesIO()
    picture.save(file, format_, **options)
    [square] = decode(file, [HASH_TRANSFORM])
    return hash_image(file.getvalue(), square)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_a_look_comes_back_from_its_bytes() -> None:
    found = look(noise(300, 200))
    assert PerceptualHash.unpack(found.pack()) == found
    assert len(found.pack()) < 1024


def test_the_size_is_that_of_the_file_and_not_of_the_crop() -> None:
    found = look(noise(300, 20))
    assert (found.width, found.height, found.animated) == (300, 20, False)


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP"])
def test_a_picture_that_moves_is_known(format_: str) -> None:
    frames = [noise(30, 30, seed) for seed in range(3)]
    assert look(frames[0], format_, save_all=True, append_images=frames[1:]).animated


@pytest.mark.parametrize("colour", ["black", "red", "white"])
def test_one_colour_has_no_spread(colour: str) -> None:
    assert look(Image.new("RGB", (90, 60), colour)).spread == pytest.approx(0, abs=1e-3)


def test_black_beside_white_has_the_widest_spread() -> None:
    picture = Image.new("L", (100, 100))
    picture.paste(255, (0, 0, 50, 100))
    assert look(picture).spread == pytest.approx(127.5, abs=2)
