"""Every depth and colour space becomes the RGB that a person would call right, and what is transparent is white."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from models.decoding.images import decode
from tests.models.pictures import GREEN, LOSSLESS, RED, WHITE, encode, naive, noise, one, png, quadrants, tiff, worst
from tests.models.pictures import transform as make_transform


def flat(crop: npt.NDArray[Any]) -> tuple[int, ...]:
    """The one colour of a crop that has only one."""
    assert worst(crop, crop[:1, :1]) == 0
    return tuple(int(value) for value in crop[0, 0])


# Transparency


def on_white(colour: tuple[int, ...], alpha: int) -> tuple[int, ...]:
    return tuple(round((value * alpha + 255 * (255 - alpha)) / 255) for value in colour)


@pytest.mark.parametrize("alpha", [0, 1, 77, 128, 254, 255])
@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_alpha_is_laid_on_white(format_: str, alpha: int) -> None:
    file = encode(Image.new("RGBA", (32, 32), (200, 100, 0, alpha)), format_)
    left_out = format_ == "TIFF" and alpha == 0
    expected = (200, 100, 0) if left_out else on_white((200, 100, 0), alpha)
    assert worst(one(file, 32), np.array(expected)) <= (1 if format_ in LOSSLESS else 5)


def test_transparent_edges_are_resampled_as_if_on_white() -> None:
    image = noise(150, 90).convert("RGBA")
    image.putalpha(noise(150, 90, seed=1).convert("L"))
    white = Image.new("RGBA", image.size, WHITE)
    transform = make_transform(40, 32)
    flattened = Image.alpha_composite(white, image)
    assert worst(decode(encode(image, "PNG"), [transform])[0], naive(flattened, transform)) <= 3


def test_faint_white_beside_opaque_black_stays_white() -> None:
    image = Image.new("RGBA", (96, 96), (255, 255, 255, 20))
    image.paste((0, 0, 0, 255), (48, 0, 96, 96))
    crop = one(encode(image, "PNG"), 40)
    assert crop[:, :19].min() >= 250
    assert crop[:, 21:].max() <= 5


@pytest.mark.parametrize(
    ("mode", "colour", "format_", "expected"),
    [
        ("LA", (100, 128), "PNG", on_white((100,) * 3, 128)),
        ("LA", (0, 0), "TIFF", WHITE),
        ("RGBA", (10, 20, 30, 0), "GIF", WHITE),
    ],
)
def test_other_modes_with_alpha(mode: str, colour: Any, format_: str, expected: tuple[int, ...]) -> None:
    assert worst(one(encode(Image.new(mode, (32, 32), colour), format_), 32), np.array(expected)) <= 1


def test_palette_with_alpha_of_its_own() -> None:
    image = Image.new("PA", (32, 32), (1, 128))
    image.putpalette([0, 0, 0, 200, 100, 0])
    assert worst(one(encode(image, "TIFF"), 32), np.array(on_white((200, 100, 0), 128))) <= 1


@pytest.mark.parametrize(("transparency", "alpha"), [(1, 0), (0, 255), (b"\xff\x80", 128), (b"\x00\xff", 255)])
def test_palette_with_transparency(transparency: int | bytes, alpha: int) -> None:
    image = Image.new("P", (32, 32), 1)
    image.putpalette([0, 0, 0, 200, 100, 0])
    file = encode(image, "PNG", transparency=transparency)
    assert worst(one(file, 32), np.array(on_white((200, 100, 0), alpha))) <= 1


def test_one_transparent_colour() -> None:
    assert flat(one(encode(Image.new("L", (8, 8), 40), "PNG", transparency=40), 8)) == WHITE
    assert flat(one(encode(Image.new("L", (8, 8), 41), "PNG", transparency=40), 8)) == (41, 41, 41)
    assert flat(one(encode(Image.new("1", (8, 8), 0), "PNG", transparency=0), 8)) == WHITE
    assert flat(one(encode(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3)), 8)) == WHITE
    assert flat(one(encode(Image.new("RGB", (8, 8), (1, 2, 4)), "PNG", transparency=(1, 2, 3)), 8)) == (1, 2, 4)


def test_one_transparent_colour_of_16_bits() -> None:
    row = b"\0" + bytes.fromhex("1234") + bytes.fromhex("1235")
    crop = one(png((2, 2), 16, 0, row * 2, (b"tRNS", bytes.fromhex("1234"))), 2)
    assert crop[:, :, 0].tolist() == [[255, 0x12]] * 2
    colours = bytes.fromhex("ff00 8000 0100") + bytes.fromhex("ff00 8000 8000")
    crop = one(png((2, 2), 16, 2, (b"\0" + colours) * 2, (b"tRNS", colours[:6])), 2)
    assert crop[0].tolist() == [list(WHITE), [0xFF, 0x80, 0x80]]


# Depths and colour spaces


@pytest.mark.parametrize("format_", LOSSLESS)
def test_grey_and_one_bit(format_: str) -> None:
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1)))
    assert np.array_equal(one(encode(ramp, format_), 64), np.asarray(ramp.convert("RGB")))
    bits = Image.fromarray(np.indices((64, 64)).sum(0) % 2 == 1)
    assert bits.mode == "1"
    assert np.array_equal(one(encode(bits, format_), 64), np.asarray(bits.convert("RGB")))


RAMP16 = np.tile(np.arange(0, 65536, 1024, dtype=np.uint16) + 511, (64, 1))


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(lambda: encode(Image.fromarray(RAMP16), "PNG"), id="png"),
        pytest.param(lambda: encode(Image.fromarray(RAMP16), "TIFF"), id="tiff"),
        pytest.param(lambda: encode(Image.fromarray(RAMP16), "TIFF", compression="tiff_lzw"), id="lzw"),
        pytest.param(lambda: tiff(RAMP16.astype(">u2"), (64, 64), bits=16, order=">"), id="big-endian"),
        pytest.param(lambda: tiff(65535 - RAMP16, (64, 64), bits=16, photometric=0), id="white-is-zero"),
    ],
)
def test_16_bits_keep_their_whole_range(file: Callable[[], BytesIO]) -> None:
    crop = one(file(), 64)
    assert worst(crop, (RAMP16 / 257)[..., None].round()) <= 1
    assert crop[0, -1, 0] > 250


def test_16_bit_colour_keeps_its_whole_range() -> None:
    pixel = bytes.fromhex("ffff 8080 0101")
    assert flat(one(png((8, 8), 16, 2, (b"\0" + pixel * 8) * 8), 8)) == (255, 128, 1)
    pixel = bytes.fromhex("ffff 0000 0000 8080")
    assert worst(one(png((8, 8), 16, 6, (b"\0" + pixel * 8) * 8), 8), np.array((255, 127, 127))) <= 1


def test_12_bits_keep_their_whole_range() -> None:
    packed = bytes.fromhex("fff 800 100 000".replace(" ", "")) * 4
    assert one(tiff(packed, (4, 4), bits=12), 4)[0, :, 0].tolist() == [255, 128, 16, 0]


@pytest.mark.parametrize(
    ("low", "high", "dtype", "shown"),
    [
        (0.0, 1.0, np.float32, (0, 255)),
        (0.0, 0.5, np.float32, (0, 128)),
        (0.0, 200.0, np.float32, (0, 200)),
        (-3.0, 5000.0, np.float32, (0, 255)),
        (1e-3, 3e38, np.float32, (0, 255)),
        (10, 200, np.int32, (10, 200)),
        (1000, 70000, np.int32, (0, 255)),
        (-(2**31), 2**31 - 1, np.int32, (0, 255)),
        (7, 7, np.int32, (7, 7)),
        (-7, -7, np.int32, (0, 0)),
    ],
)
def test_wide_greys_are_shown_sensibly(low: float, high: float, dtype: Any, shown: tuple[int, int]) -> None:
    values = np.linspace(low, high, 64).astype(dtype)
    crop = one(encode(Image.fromarray(np.tile(values, (64, 1))), "TIFF"), 64)
    assert crop[0, [0, -1], 0].tolist() == list(shown)
    assert (np.diff(crop[0, :, 0].astype(int)) >= 0).all()


def test_not_a_number_is_black() -> None:
    values = np.full((8, 8), 0.5, np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    assert one(encode(Image.fromarray(values), "TIFF"), 8)[0, :5, 0].tolist() == [0, 0, 0, 128, 128]


@pytest.mark.parametrize("order", ["<", ">"])
def test_signed_16_bits(order: str) -> None:
    values = np.tile(np.array([-32768, 0, 32767, 32767], dtype=order + "i2"), (4, 1))
    crop = one(tiff(values, (4, 4), bits=16, sample_format=2, order=order), 4)
    assert worst(crop[0, :3, 0], np.array([0, 128, 255])) <= 1


@pytest.mark.parametrize(
    ("ink", "expected"),
    [((0, 255, 255, 0), RED), ((255, 0, 255, 0), GREEN), ((0, 0, 0, 0), WHITE), ((0, 0, 0, 255), (0, 0, 0))],
)
@pytest.mark.parametrize("format_", ["TIFF", "JPEG"])
def test_cmyk(format_: str, ink: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert worst(one(encode(Image.new("CMYK", (32, 32), ink), format_), 32), np.array(expected)) <= 3


@pytest.mark.parametrize("colour", [(200, 60, 60), (90, 150, 100), (80, 90, 200), WHITE])
def test_ycbcr_and_lab(colour: tuple[int, int, int]) -> None:
    picture = Image.new("RGB", (32, 32), colour)
    assert worst(one(encode(picture.convert("YCbCr"), "TIFF"), 32), np.array(colour)) <= 2
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    assert lab is not None
    assert worst(one(encode(lab, "TIFF"), 32), np.array(colour)) <= 3


@pytest.mark.parametrize("format_", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette(format_: str) -> None:
    assert np.array_equal(one(encode(quadrants().quantize(4), format_), 32), np.asarray(quadrants()))
