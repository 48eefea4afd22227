"""Files that are out of the ordinary, and that every viewer opens."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from models.decoding.images import decode_file
from models.errors import ImageError
from tests.models.decoding.test_images_unended import photograph
from tests.models.pictures import encode, noise, one, quadrants, transform, worst

MASKS = {
    "4444": (16, (0x0F00, 0x00F0, 0x000F, 0xF000)),
    "444": (16, (0x0F00, 0x00F0, 0x000F, 0)),
    "5551": (16, (0xF800, 0x07C0, 0x003E, 1)),
    "565 in 32": (32, (0xF800, 0x07E0, 0x001F, 0)),
    "10 bits": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
    "BGRA": (32, (0xFF00, 0xFF0000, 0xFF000000, 0xFF)),
    "XBGR": (32, (0xFF, 0xFF00, 0xFF0000, 0)),
}


def bitmap(bits: int, masks: tuple[int, ...], header: int, compression: int = 3, *, downward: bool = False) -> bytes:
    """A BMP of the quadrants, whose colours are all or nothing: any depth holds them."""
    pixels = np.array(quadrants(31)) > 0
    values = np.full(pixels.shape[:2], masks[3], np.uint32)
    for band, mask in enumerate(masks[:3]):
        values |= np.where(pixels[..., band], np.uint32(mask), np.uint32(0))
    rows = values.astype(f"<u{bits // 8}")
    rows = rows if downward else rows[::-1]
    stride = (31 * bits + 31) // 32 * 4
    body = b"".join(row.tobytes().ljust(stride, b"\0") for row in rows)
    fields = struct.pack("<IiiHHIIiiII", header, 31, -31 if downward else 31, 1, bits, compression, len(body), *[0] * 4)
    four = compression == 6 or header >= 56
    head = (fields + struct.pack("<IIII", *masks)[: 16 if four else 12]).ljust(header, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body


@pytest.mark.parametrize("downward", [False, True])
@pytest.mark.parametrize("header", [40, 52, 56, 108, 124])
@pytest.mark.parametrize("masks", MASKS)
def test_bitmaps_of_any_masks(masks: str, header: int, downward: bool) -> None:
    data = bitmap(*MASKS[masks], header, downward=downward)
    assert worst(one(BytesIO(data), 31), np.asarray(quadrants(31))) == 0


@pytest.mark.parametrize("masks", MASKS)
def test_bitmaps_whose_alpha_has_a_mask_by_their_compression(masks: str) -> None:
    assert worst(one(BytesIO(bitmap(*MASKS[masks], 40, 6)), 31), np.asarray(quadrants(31))) == 0


def test_a_bitmap_of_2_bits() -> None:
    indices = np.array([[0, 1], [2, 3]]).repeat(16, axis=0).repeat(16, axis=1)[::-1]
    packed = (indices.reshape(32, 8, 4) << [6, 4, 2, 0]).sum(axis=2).astype(np.uint8).tobytes()
    palette = bytes([0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0])
    fields = struct.pack("<IiiHHIIiiII", 40, 32, 32, 1, 2, 0, len(packed), 0, 0, 4, 0)
    data = b"BM" + struct.pack("<IHHI", 70 + len(packed), 0, 0, 70) + fields + palette + packed
    assert worst(one(BytesIO(data), 32), np.asarray(quadrants())) == 0


@pytest.mark.parametrize(("format_", "compression"), [("JPEG", 4), ("PNG", 5)])
def test_a_bitmap_that_holds_another_file(format_: str, compression: int) -> None:
    body = encode(quadrants(), format_).getvalue()
    fields = struct.pack("<IiiHHIIiiII", 40, 32, 32, 1, 0, compression, len(body), 0, 0, 0, 0)
    data = b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54) + fields + body
    assert worst(one(BytesIO(data), 32), one(encode(quadrants(), format_), 32)) == 0


STRAY = [b"\xff\xd8", b"\xff\x01", b"\xff\x02\0\x04ab", b"\xff\xbf\0\x04ab", b"\xff\xf7\0\x04ab", b"\xff\xfd\0\x04ab"]


@pytest.mark.parametrize("stray", STRAY)
def test_a_jpeg_with_stray_markers(stray: bytes) -> None:
    data = encode(noise(64, 48), "JPEG").getvalue()
    assert np.array_equal(one(BytesIO(data[:2] + stray + data[2:]), 48), one(BytesIO(data), 48))


@pytest.mark.parametrize("leading", [b"\n", b"\r\n", b"\xef\xbb\xbf", bytes(4)])
def test_a_jpeg_behind_what_a_writer_of_text_leaves(leading: bytes) -> None:
    data = encode(noise(64, 48), "JPEG").getvalue()
    assert np.array_equal(one(BytesIO(leading + data), 48), one(BytesIO(data), 48))


@pytest.mark.parametrize("brand", [b"miaf", b"mif1", b"mif2"])
def test_a_picture_of_a_family(brand: bytes) -> None:
    data = encode(noise(64, 48), "HEIF").getvalue()
    length = int.from_bytes(data[:4], "big")
    generic = data[:8] + brand + data[12:16] + (brand * length)[: length - 16] + data[length:]
    assert np.array_equal(one(BytesIO(generic), 48), one(BytesIO(data), 48))


def test_a_suggested_palette_that_is_broken() -> None:
    data = encode(noise(64, 48), "PNG").getvalue()
    broken = data[:33] + struct.pack(">I", 3) + b"PLTE" + b"abc" + bytes(4) + data[33:]
    assert np.array_equal(one(BytesIO(broken), 48), one(BytesIO(data), 48))


SHORT: list[tuple[str, dict[str, Any], int]] = [
    ("BMP", {}, 2),
    ("GIF", {}, 3),
    ("WEBP", {"lossless": False, "quality": 90}, 1),
    ("AVIF", {}, 1),
    ("HEIF", {}, 1),
    ("TIFF", {}, 1),
]


@pytest.mark.parametrize(("format_", "options", "missing"), SHORT, ids=str)
def test_a_few_bytes_short(format_: str, options: dict[str, Any], missing: int) -> None:
    data = encode(photograph(), format_, **options).getvalue()
    whole = decode_file(BytesIO(data), [transform(96)])
    short = decode_file(BytesIO(data[:-missing]), [transform(96)])
    assert not short.has_end
    assert np.abs(whole.crops[0].astype(int) - short.crops[0]).mean() < 2


@pytest.mark.parametrize("format_", ["BMP", "GIF", "WEBP", "AVIF", "HEIF", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_many_bytes_short(format_: str, share: float) -> None:
    data = encode(photograph(), format_).getvalue()
    with pytest.raises(ImageError) as refused:
        decode_file(BytesIO(data[: int(len(data) * share)]), [transform(96)])
    assert refused.value.reason == "truncated"
