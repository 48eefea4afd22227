"""Raw files are classified by the preview that the camera has put into them, upright."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image

from models.decoding.images import Crop, Transform
from models.decoding.raw import decode_raw, is_raw
from models.errors import REASONS, ImageError
from tests.raw_files import dng

pytest.importorskip("rawpy")

SQUARE = Transform(resize=32, crop=32, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1), stretch=True)


def quarters() -> Image.Image:
    """A picture with a colour in each quarter."""
    picture = Image.new("RGB", (320, 200), (200, 30, 30))
    picture.paste((30, 200, 30), (160, 0, 320, 100))
    picture.paste((30, 30, 200), (0, 100, 160, 200))
    picture.paste((200, 200, 200), (160, 100, 320, 200))
    return picture


def crop(data: bytes) -> Crop:
    return decode_raw(data, [SQUARE], max_pixels=10**6).crops[0]


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(1, None), (3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270), (8, Image.Transpose.ROTATE_90)],
)
def test_the_preview_is_turned_upright_by_what_the_raw_file_says(
    orientation: int, turned: Image.Transpose | None
) -> None:
    upright = quarters() if turned is None else quarters().transpose(turned)
    wanted = np.asarray(upright.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    found = crop(dng(quarters(), orientation=orientation)).astype(int)
    assert np.abs(found - wanted).mean() < 6


def test_of_one_without_a_preview_the_sensor_counts() -> None:
    image = decode_raw(dng(None), [SQUARE], max_pixels=10**6)
    assert image.size == (32, 32)
    with pytest.raises(ImageError) as refused:
        decode_raw(dng(None), [SQUARE], max_pixels=1_000)
    assert refused.value.reason == "too-large"
    with pytest.raises(ImageError) as refused:
        decode_raw(dng(quarters()), [SQUARE], max_pixels=1_000)
    assert refused.value.reason == "too-large"


def test_hostile_files_are_refused_with_a_reason() -> None:
    """Each is cut somewhere, or has some bytes that mean something else now."""
    good, chance = dng(quarters()), random.Random(1)
    refused, reasons = 0, set[str]()
    for number in range(60):
        if number % 2:
            data = bytearray(good)
            for _ in range(1 + number // 8):
                data[chance.randrange(400)] = chance.randrange(256)
        else:
            data = bytearray(good[: chance.randrange(len(good))])
        try:
            crop(bytes(data))
        except ImageError as error:
            reasons.add(error.reason)
            refused += 1
    assert refused > 10
    assert reasons <= {*REASONS}
    with pytest.raises(ImageError, match="empty"):
        crop(b"")


def test_what_is_no_raw_file_whatever_its_name_says() -> None:
    assert is_raw(dng(None)[:64])
    assert not is_raw(b"\xff\xd8\xff\xe0")
    with pytest.raises(ImageError) as refused:
        crop(b"GARBAGE" * 100)
    assert refused.value.reason == "not-an-image"
