"""A file that was made as long as it will be, and written in part only, is not a picture; one that ends black is."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.decoding.images import decode_file
from models.decoding.tiffdirectory import read, with_directory
from models.errors import ImageError
from tests.models.decoding.test_images_unended import KINDS, photograph
from tests.models.pictures import encode, noise, transform

# What a list of tags takes at most.
_ROOM = 4096

OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("WEBP", {"lossless": False, "quality": 90}),
    ("WEBP", {}),
    ("AVIF", {}),
    ("HEIF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_deflate"}),
    ("TIFF", {"compression": "packbits"}),
    ("TIFF", {"compression": "jpeg"}),
    ("PNG", {}),
    ("GIF", {}),
]


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as refused:
        decode_file(BytesIO(data), [transform(96)])
    return refused.value.reason


def half(data: bytes, share: float = 0.5) -> bytes:
    written = int(len(data) * share)
    return data[:written] + bytes(len(data) - written)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", [*KINDS, {"quality": 98, "subsampling": 0}], ids=str)
@pytest.mark.parametrize("share", [0.4, 0.7])
def test_half_a_jpeg(kind: dict[str, Any], mode: str, share: float) -> None:
    data = encode(photograph(mode), "JPEG", **kind).getvalue()
    assert refusal(half(data, share)) == "truncated"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("quality", [60, 90, 98])
def test_half_a_jpeg_with_an_end(quality: int, mode: str) -> None:
    data = encode(photograph(mode), "JPEG", quality=quality).getvalue()
    assert refusal(half(data)[:-2] + b"\xff\xd9") == "truncated"


def test_half_a_jpeg_with_a_thumbnail() -> None:
    data = encode(photograph("L"), "JPEG", quality=98).getvalue()
    thumbnail = encode(noise(32, 32), "JPEG").getvalue()
    data = data[:2] + b"\xff\xe5" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + data[2:]
    assert refusal(half(data)) == "truncated"


@pytest.mark.parametrize("share", [0.4, 0.7])
@pytest.mark.parametrize(("format_", "options"), OTHERS, ids=str)
def test_half_of_another_format(format_: str, options: dict[str, Any], share: float) -> None:
    if format_ == "TIFF":  # a list of tags at the end is gone; one at the beginning is what is to be feared
        data = tags_first(encode(photograph(), format_, **options).getvalue())
    else:
        data = encode(photograph(), format_, **options).getvalue()
    assert refusal(half(data, share)) in ("truncated", "corrupt" if format_ in ("TIFF", "GIF") else "truncated")


def tags_first(data: bytes) -> bytes:
    """The same TIFF with its list of tags in front of the pixels, whatever its writer does."""
    directory = read(data)
    kept = {tag: value for tag, value in directory.tags.items() if not isinstance(value, bytes)}
    strips = {273: tuple(place + _ROOM for place in directory.numbers(273))}
    return with_directory(bytes(8), "<", kept | strips).ljust(_ROOM, b"\0") + data


@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("JPEG", {"optimize": False}),
        ("JPEG", {"optimize": True}),
        ("WEBP", {"lossless": False}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"speed": 10}),
        ("HEIF", {"enc_params": {"preset": "ultrafast"}}),
        *[(format_, {}) for format_ in ("PNG", "GIF", "TIFF", "BMP")],
    ],
    ids=str,
)
@pytest.mark.parametrize("level", [0, 255])
def test_a_picture_whose_lower_part_is_flat(format_: str, options: dict[str, Any], level: int) -> None:
    pixels = np.full((1500, 1200, 3), level, np.uint8)
    pixels[:300] = np.asarray(photograph(size=(1200, 300)))
    data = encode(Image.fromarray(pixels), format_, **options).getvalue()
    whole = decode_file(BytesIO(data), [transform(96)])
    assert whole.has_end
    crop = whole.crops[0][-20:]
    assert np.abs(crop.astype(int) - level).max() <= 6


@pytest.mark.parametrize("zeros", [100, 5000])
@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "AVIF", "HEIF", "PNG", "GIF", "TIFF", "BMP"])
def test_zeros_behind_the_picture(format_: str, zeros: int) -> None:
    data = encode(photograph(), format_).getvalue()
    plain, followed = (decode_file(BytesIO(some), [transform(96)]) for some in (data, data + bytes(zeros)))
    assert np.array_equal(plain.crops[0], followed.crops[0])


def test_zeros_behind_what_follows_the_picture() -> None:
    data = encode(photograph(), "JPEG").getvalue()
    assert decode_file(BytesIO(data + b"a film" * 100 + bytes(1000)), [transform(96)]).has_end


def test_zeros_in_metadata() -> None:
    data = encode(photograph(), "JPEG").getvalue()
    data = data[:2] + b"\xff\xe1" + (5002).to_bytes(2, "big") + bytes(5000) + data[2:]
    assert decode_file(BytesIO(data), [transform(96)]).has_end
