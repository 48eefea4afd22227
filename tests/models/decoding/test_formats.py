"""The first bytes say what a file is, and its structure where it should end."""

from __future__ import annotations

import struct

import pytest

from models.decoding.formats import ends_early, kind_of
from tests.models.pictures import FORMATS, encode, noise, tiff


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


@pytest.mark.parametrize("format_", FORMATS)
def test_complete_files_are_known_and_end_where_they_say(format_: str) -> None:
    data = encode(noise(24, 16), format_).getvalue()
    kind = kind_of(data[:64])
    assert kind == {"WEBP": "WebP", "HEIF": "HEIC"}.get(format_, format_)
    assert not ends_early(data, kind)


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        (b"heic\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1miafavif", "AVIF"),
        (b"avis\0\0\0\0", "AVIF"),
        (b"mif3heic", "HEIC"),
        (b"isom\0\0\0\0isomavc1mp41", None),
        (b"qt  \0\0\0\0", None),
    ],
)
def test_brands_tell_avif_from_heic(brands: bytes, kind: str | None) -> None:
    assert kind_of(box(b"ftyp", brands) + box(b"free", b"avif" * 8)) == kind


@pytest.mark.parametrize(
    ("boxes", "early"),
    [
        (box(b"ftyp", b"heic"), False),
        (box(b"ftyp", b"heic") + box(b"mdat", bytes(100))[:-1], True),
        (box(b"ftyp", b"heic") + b"\0\0\0", True),
        (box(b"ftyp", b"heic") + b"\0\0\0\1mdat" + struct.pack(">Q", 20) + b"data", False),
        (box(b"ftyp", b"heic") + b"\0\0\0\1mdat" + struct.pack(">Q", 20) + b"dat", True),
        (box(b"ftyp", b"heic") + b"\0\0\0\0mdat to the end of the file", False),
        (box(b"ftyp", b"heic") + b"\0\0\0\3mdat damaged", False),
    ],
)
def test_boxes_cut_short(boxes: bytes, early: bool) -> None:
    assert ends_early(boxes, "HEIC") is early


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_cut_short(order: str) -> None:
    data = tiff(bytes(64), (8, 8), bits=8, order=order).getvalue()
    assert not ends_early(data[:-4], "TIFF")  # where a second picture would be is seldom missed
    assert ends_early(data[:-5], "TIFF")
    assert ends_early(data[:40], "TIFF")
