"""A JPEG that lacks nothing but its last bytes is a picture, and one that lacks rows is not."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.decoding.images import DecodedFile, decode_file
from models.errors import ImageError
from tests.models.pictures import encode, noise, transform

KINDS: list[dict[str, Any]] = [
    {},
    {"progressive": True},
    {"subsampling": 2, "quality": 85},
    {"subsampling": 2, "quality": 85, "progressive": True},
    {"subsampling": 1},
    {"restart_marker_rows": 1},
    {"restart_marker_blocks": 3},
    {"optimize": True},
]


def photograph(mode: str = "RGB", size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Smooth, and not flat, as most pictures are."""
    smooth = noise(12, 9).resize(size, Image.Resampling.BICUBIC)
    rough = noise(*size, seed=1)
    return Image.blend(smooth, rough, 0.1).convert(mode)


def read(data: bytes, **options: Any) -> DecodedFile:
    return decode_file(BytesIO(data), [transform(96)], **options)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_few_bytes_short(kind: dict[str, Any], mode: str) -> None:
    data = encode(photograph(mode), "JPEG", **kind).getvalue()
    whole = read(data)
    assert whole.has_end
    # The last scan of a progressive one, of an ink that is not used, has no more bytes.
    for missing in range(1, 5 if kind.get("progressive") and mode == "CMYK" else 13):
        short = read(data[:-missing])
        assert not short.has_end or mode == "CMYK", missing  # libjpeg may be done before it misses the end
        assert np.abs(whole.crops[0].astype(int) - short.crops[0]).mean() < 1, missing


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_rows_are_missing(kind: dict[str, Any], mode: str) -> None:
    data = encode(photograph(mode), "JPEG", **kind).getvalue()
    begin = data.index(b"\xff\xda")
    # Of a progressive one, all rows are there by then, and lack their last bit.
    for share in (0.1, 0.5) if kind.get("progressive") else (0.1, 0.5, 0.9):
        with pytest.raises(ImageError) as refused:
            read(data[: begin + int((len(data) - begin) * share)])
        assert refused.value.reason == "truncated", share


@pytest.mark.parametrize("reduce", [True, False])
def test_a_large_picture_without_its_end(reduce: bool) -> None:
    data = encode(photograph(size=(1600, 1200)), "JPEG").getvalue()
    short = read(data[:-2], reduce=reduce)
    assert np.array_equal(short.crops[0], read(data, reduce=reduce).crops[0])
    with pytest.raises(ImageError):
        read(data[: len(data) * 9 // 10], reduce=reduce)


def test_cut_between_two_restarts() -> None:
    """Rows that nothing is there of are grey then, whatever may come: nothing in the data itself is missing."""
    data = encode(photograph(), "JPEG", restart_marker_rows=1).getvalue()
    for restart in (b"\xff\xd0", b"\xff\xd3", b"\xff\xd6"):
        with pytest.raises(ImageError) as refused:
            read(data[: data.rindex(restart)])
        assert refused.value.reason == "truncated"


def test_an_end_in_a_thumbnail_is_not_the_end() -> None:
    data = encode(photograph(), "JPEG").getvalue()
    thumbnail = b"thumbnail\xff\xd8\xff\xd9"
    data = data[:2] + b"\xff\xe5" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + data[2:]
    assert not read(data[:-2]).has_end
    with pytest.raises(ImageError) as refused:
        read(data[: len(data) // 2])
    assert refused.value.reason == "truncated"
