"""Pictures that would be read as something else than their writer meant."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from models.decoding.images import decode
from tests.models.pictures import RED, WHITE, encode, noise, one, quadrants, tiff, transform, worst

# Alpha that was left out


def bitmap(header: int, alpha: int) -> BytesIO:
    """A 32-bit BMP of the quadrants with an alpha mask."""
    pixels = np.array(quadrants())[::-1]
    body = np.dstack([pixels[..., ::-1], np.full(pixels.shape[:2], alpha, np.uint8)]).tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    fields = struct.pack("<IiiHHIIiiII", header, 32, 32, 1, 32, 3, len(body), 0, 0, 0, 0)
    head = b"BM" + struct.pack("<IHHI", 14 + header + len(body), 0, 0, 14 + header)
    return BytesIO(head + (fields + masks).ljust(header, b"\0") + body)


@pytest.mark.parametrize("header", [56, 108, 124])
@pytest.mark.parametrize("alpha", [0, 255])
def test_bitmap_without_alpha_is_opaque(header: int, alpha: int) -> None:
    assert np.array_equal(one(bitmap(header, alpha), 32), np.asarray(quadrants()))


def test_bitmap_with_some_alpha_keeps_it() -> None:
    data = bytearray(bitmap(124, 0).getvalue())
    data[-1] = 255
    crop = one(BytesIO(data), 32)
    assert crop[1:].min() == 255


# Planes


def planar(
    samples: npt.NDArray[Any], photometric: int, order: Literal["<", ">"], *, side: int = 0, extra: int | None = None
) -> BytesIO:
    """An uncompressed TIFF of (n, height, width) samples, in planes, as strips of 7 rows or as tiles."""
    count, height, width = samples.shape
    depth = samples.dtype.itemsize
    chunks = []
    for plane in samples.astype(samples.dtype.newbyteorder(order)):
        if side:
            padded = np.pad(plane, ((0, -height % side), (0, -width % side)))
            tiles = padded.reshape(padded.shape[0] // side, side, -1, side).swapaxes(1, 2)
            chunks += [tile.tobytes() for row in tiles for tile in row]
        else:
            chunks += [plane[row : row + 7].tobytes() for row in range(0, height, 7)]
    offsets = np.cumsum([8] + [len(chunk) for chunk in chunks])[:-1].tolist()
    lengths = [len(chunk) for chunk in chunks]
    tags: dict[int, list[int]] = {256: [width], 257: [height], 258: [8 * depth] * count, 259: [1], 262: [photometric]}
    tags |= {322: [side], 323: [side], 324: offsets, 325: lengths} if side else {273: offsets, 278: [7], 279: lengths}
    tags |= {277: [count], 284: [2]} | ({} if extra is None else {338: [extra]})
    start = 8 + sum(lengths)
    entries, outside = b"", b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(packed) > 4:
            place = start + 6 + 12 * len(tags) + len(outside)
            packed, outside = struct.pack(order + "I", place), outside + packed
        entries += struct.pack(order + "HHI", tag, 4, len(values)) + packed
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, start)
    return BytesIO(head + b"".join(chunks) + struct.pack(order + "H", len(tags)) + entries + bytes(4) + outside)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("side", [0, 16, 32])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("mode", "extra"), [("RGB", None), ("RGBA", 2), ("RGBA", None), ("CMYK", None)])
def test_planes(mode: str, extra: int | None, depth: int, side: int, order: Literal["<", ">"]) -> None:
    picture = noise(64, 48).convert(mode)
    samples = np.moveaxis(np.asarray(picture), -1, 0)
    wide = samples.astype(np.uint16) * 257 if depth == 16 else samples
    crop = one(planar(wide, 5 if mode == "CMYK" else 2, order, side=side, extra=extra), 48)
    assert worst(crop, decode(encode(picture, "TIFF"), [transform(48)])[0]) <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("side", [0, 16])
@pytest.mark.parametrize("photometric", [0, 1])
def test_one_plane(photometric: int, side: int, order: Literal["<", ">"]) -> None:
    grey = np.asarray(noise(64, 48).convert("L"))
    stored = grey if photometric else 255 - grey
    expected = one(encode(Image.fromarray(grey), "TIFF"), 48)
    assert np.array_equal(one(planar(stored[None], photometric, order, side=side), 48), expected)


def test_one_plane_of_16_bits() -> None:
    grey = np.asarray(noise(64, 48).convert("L")).astype(np.uint16) * 257
    expected = one(encode(Image.fromarray(grey), "TIFF"), 48)
    assert np.array_equal(one(planar(grey[None], 1, "<"), 48), expected)


# Grey that uses a part of its 16 bits

SLOPE = np.tile(np.arange(0, 256, 4, dtype=np.uint16), (64, 1))


def grey_file(values: npt.NDArray[Any], form: str) -> BytesIO:
    if form == "big-endian":
        return tiff(values.astype(">u2"), values.shape[::-1], bits=16, order=">")
    return encode(
        Image.fromarray(values), *form.split()[:1], **({"compression": form.split()[1]} if " " in form else {})
    )


@pytest.mark.parametrize("form", ["PNG", "TIFF", "TIFF tiff_lzw", "TIFF tiff_deflate", "big-endian"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_a_sensor_of_fewer_bits(bits: int, form: str) -> None:
    crop = one(grey_file(SLOPE << (bits - 8), form), 64)
    assert np.array_equal(crop[..., 0], SLOPE)


@pytest.mark.parametrize("floor", [0, 1000, 7500, 29315, 60000])
@pytest.mark.parametrize("form", ["PNG", "TIFF", "big-endian"])
def test_a_thermal_picture_is_stretched(floor: int, form: str) -> None:
    crop = one(grey_file(SLOPE * 4 + np.uint16(floor), form), 64)
    assert worst(crop[..., 0], SLOPE * (255 / 252)) <= 4


def test_a_broken_pixel_does_not_hide_the_others() -> None:
    values = np.tile(SLOPE << 4, (4, 4))
    values[5, 7] = 65535
    crop = one(grey_file(values, "PNG"), 256)
    assert worst(crop[:, :, 0], np.tile(SLOPE, (4, 4))) > 0  # that pixel itself is white
    assert np.array_equal(crop[64:, :64, 0], np.tile(SLOPE, (3, 1)))


@pytest.mark.parametrize("level", [0, 1, 255, 4095, 30000, 65535])
def test_one_level_stays_what_it_is(level: int) -> None:
    assert (one(grey_file(np.full((8, 8), level, np.uint16), "PNG"), 8) == level >> 8).all()


def test_the_whole_range_is_not_touched() -> None:
    for seed, (low, high) in enumerate([(0, 65536), (20000, 60000), (30000, 50000), (0, 17000)]):
        values = np.random.default_rng(seed).integers(low, high, (64, 64), dtype=np.uint16)
        assert np.array_equal(one(grey_file(values, "TIFF"), 64)[..., 0], values >> 8)


# An animation that begins with nothing

BLANK = [Image.new("RGBA", (32, 32), (*colour, alpha)) for colour in (WHITE, (0, 0, 0)) for alpha in (255, 0)]


def animation(format_: str, frames: list[Image.Image]) -> BytesIO:
    return encode(frames[0], format_, save_all=True, append_images=frames[1:], duration=100)


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("blank", range(4))
@pytest.mark.parametrize("count", [1, 2])
def test_the_first_frame_that_shows_something(format_: str, blank: int, count: int) -> None:
    picture, other = quadrants().convert("RGBA"), Image.new("RGBA", (32, 32), (0, 0, 255, 255))
    first = BLANK[blank : blank + count]
    crop = one(animation(format_, [*first, picture, other]), 32)
    assert np.abs(crop.astype(int) - np.asarray(quadrants())).mean() <= 8


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "AVIF"])
def test_an_animation_of_nothing_is_its_first_frame(format_: str) -> None:
    colours = [Image.new("RGB", (32, 32), colour) for colour in (RED, WHITE, (0, 0, 0))]
    assert worst(one(animation(format_, colours), 32), np.array(RED)) <= 3


def test_frames_are_looked_at_no_longer_than_worth_it() -> None:
    frames = [Image.new("RGB", (32, 32), (level, 255, 255)) for level in range(100)]
    crop = one(animation("PNG", [*frames, quadrants()]), 32)
    assert (crop == [0, 255, 255]).all()


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP"])
def test_frames_that_are_broken_do_not_cost_the_first(format_: str) -> None:
    data = animation(format_, [BLANK[0], noise(32, 32).convert("RGBA")]).getvalue()
    for cut in range(20, 200, 20):
        crops = decode(BytesIO(data[:-cut] + bytes(cut)), [transform(32)])
        assert crops[0].shape == (32, 32, 3)
