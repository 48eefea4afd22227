"""Whatever is wrong with metadata, the picture is read, and it is the same picture."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from itertools import product

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from models.decoding.images import decode_file, read_header
from tests.models.pictures import RED, encode, noise, one, quadrants, tiff, turned, worst
from tests.models.pictures import transform as make_transform

# PNG

CHUNKS = {
    b"pHYs": struct.pack(">IIB", 3000, 3000, 1),
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", *range(1, 9)),
    b"sRGB": b"\0",
    b"sBIT": b"\5\5\5",
    b"iCCP": b"icc\0\0" + zlib.compress(bytes(600)),
    b"tEXt": b"Software\0x",
    b"zTXt": b"Comment\0\0" + zlib.compress(b"x"),
    b"iTXt": b"Comment\0\1\0\0\0" + zlib.compress(b"x"),
    b"tIME": bytes([7, 232, 1, 1, 1, 1, 1]),
    b"eXIf": b"II*\0\x08\0\0\0\0\0",
    b"tRNS": bytes(6),
    b"acTL": struct.pack(">II", 3, 0),
    b"fcTL": struct.pack(">5IHHBB", 0, 32, 32, 0, 0, 1, 1, 0, 0),
    b"fdAT": bytes(20),
    b"prIv": b"anything",
}


def chunk(name: bytes, content: bytes, *, damaged: bool = False) -> bytes:
    checksum = zlib.crc32(name + content) ^ (0x5A5A5A5A if damaged else 0)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def split_png() -> tuple[bytes, bytes, bytes, bytes]:
    """A PNG before its pixels, half of them, the other half, and its end."""
    data = encode(quadrants(), "PNG").getvalue()
    pixels = zlib.compress(zlib.decompress(data[41 : data.index(b"IEND") - 8]))
    return data[:33], chunk(b"IDAT", pixels[:30]), chunk(b"IDAT", pixels[30:]), chunk(b"IEND", b"")


@pytest.mark.parametrize("name", CHUNKS, ids=bytes.decode)
def test_broken_chunk_that_is_not_needed(name: bytes) -> None:
    parts, plain = split_png(), np.asarray(quadrants())
    contents = {"checksum": CHUNKS[name], "short": b"\1", "empty": b"", "long": CHUNKS[name] + bytes(9)}
    for (fault, content), place in product(contents.items(), (1, 2, 3)):
        broken = chunk(name, content, damaged=fault == "checksum")
        crop = one(BytesIO(b"".join([*parts[:place], broken, *parts[place:]])), 32)
        assert np.array_equal(crop, plain), (fault, place)


@pytest.mark.parametrize("key", ["interlace", "bbox", "default_image", "transparency", "disposal", "exif"])
def test_a_text_is_no_instruction(key: str) -> None:
    head, *pixels = split_png()
    text = chunk(b"tEXt", key.encode() + b"\x001")
    assert np.array_equal(one(BytesIO(b"".join([head, text, *pixels])), 32), np.asarray(quadrants()))


def test_transparency_behind_the_pixels_says_nothing() -> None:
    head, first, second, end = split_png()
    late = chunk(b"tRNS", struct.pack(">3H", *RED))
    assert np.array_equal(one(BytesIO(head + first + second + late + end), 32), np.asarray(quadrants()))


def test_a_chunk_cut_behind_the_pixels_costs_nothing_but_patience() -> None:
    head, first, second, _ = split_png()
    picture = decode_file(BytesIO(head + first + second + chunk(b"tEXt", b"Software\0x")[:-6]), [make_transform(32)])
    assert np.array_equal(picture.crops[0], np.asarray(quadrants()))
    assert not picture.has_end


@pytest.mark.parametrize("packed", [False, True])
def test_orientation_in_a_text_still_counts(packed: bool) -> None:
    information = PngImagePlugin.PngInfo()
    information.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="3"/>', zip=packed)
    file = encode(quadrants().rotate(180), "PNG", pnginfo=information)
    assert np.array_equal(one(file, 32), np.asarray(quadrants()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_kept_beside_broken_chunks(orientation: int) -> None:
    data = turned(quadrants(), "PNG", orientation).getvalue()
    broken = chunk(b"pHYs", b"\0") + chunk(b"gAMA", CHUNKS[b"gAMA"], damaged=True)
    assert np.array_equal(one(BytesIO(data[:33] + broken + data[33:]), 32), np.asarray(quadrants()))


# JPEG


def segment(marker: int, content: bytes, length: int | None = None) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2 if length is None else length) + content


CONTENTS = [
    b"",
    b"JFIF",
    b"JFIF\0\1",
    b"Adobe\0",
    b"Adobe",
    b"Photoshop 3.0\x008BIM\x07\xdb",
    b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\x10ab",
    b"Exif\0\0",
    b"Exif\0\0MM\0*\xff\xff\xff\xff",
    b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(30),
    b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\2\0\xff\xff\xff\xff\0\0\0\0",
    b"http://ns.adobe.com/xap/1.0/\0<",
    b"ICC_PROFILE\0",
    b"ICC_PROFILE\0\1",
    b"MPF\0",
    b"MPF\0garbage!",
    b"FPXR\0",
    bytes(40),
]


def plain_jpeg() -> bytes:
    return encode(noise(64, 48), "JPEG").getvalue()


@pytest.mark.parametrize("marker", [*range(0xE0, 0xF0), 0xFE])
def test_broken_segment_that_is_not_needed(marker: int) -> None:
    data = plain_jpeg()
    plain = one(BytesIO(data), 48)
    for content in CONTENTS:
        assert np.array_equal(one(BytesIO(data[:2] + segment(marker, content) + data[2:]), 48), plain), content


@pytest.mark.parametrize("marker", [*range(0xE0, 0xF0), 0xFE])
def test_segment_of_a_wrong_length(marker: int) -> None:
    data = plain_jpeg()
    plain = one(BytesIO(data), 48)
    contents = b"Adobe\0d\0\0\0\0\1", b"Exif\0\0II*\0", b"JFIF\0"
    for length, content in product((0, 1, 2, 3, 20, 60, 500, 65535), contents):
        crop = one(BytesIO(data[:2] + segment(marker, content, length) + data[2:]), 48)
        assert worst(crop, plain) <= 0, (length, content)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_kept_beside_broken_segments(orientation: int) -> None:
    data = turned(quadrants(), "JPEG", orientation).getvalue()
    for broken in (segment(0xED, CONTENTS[5]), segment(0xEE, b"Adobe\0")):
        assert worst(one(BytesIO(data[:2] + broken + data[2:]), 32), np.asarray(quadrants())) <= 40


def test_a_broken_segment_does_not_change_the_colours_of_four_inks() -> None:
    data = encode(noise(64, 48).convert("CMYK"), "JPEG").getvalue()
    crop = one(BytesIO(data[:2] + segment(0xED, CONTENTS[5]) + data[2:]), 48)
    assert np.array_equal(crop, one(BytesIO(data), 48))


def test_header_is_read_beside_broken_metadata() -> None:
    data = plain_jpeg()
    assert read_header(BytesIO(data[:2] + segment(0xEE, b"Adobe\0") + data[2:])).width == 64


# The others


@pytest.mark.parametrize("format_", ["WEBP", "AVIF", "HEIF", "PNG", "JPEG"])
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"junk"])
def test_broken_exif(format_: str, exif: bytes) -> None:
    plain = encode(noise(64, 48), format_).getvalue()
    sound = Image.Exif()
    sound[0x010E] = "a picture of a noise, that says so at some length"
    data = encode(noise(64, 48), format_, exif=sound.tobytes()).getvalue()
    (begin,) = {data.find(b"II*\0\x08\0\0\0"), data.find(b"MM\0*\0\0\0\x08")} - {-1}
    data = data[:begin] + exif[6:].ljust(8, b"\xff")[:8] + data[begin + 8 :]
    assert worst(one(BytesIO(data), 48), one(BytesIO(plain), 48)) <= 4


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_webp_cut_in_its_metadata(cut: int) -> None:
    data = encode(noise(64, 48), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0").getvalue()
    picture = decode_file(BytesIO(data[:-cut]), [make_transform(48)])
    assert np.array_equal(picture.crops[0], one(BytesIO(data), 48))
    assert not picture.has_end


@pytest.mark.parametrize(
    "tag", [269, 270, 282, 296, 305, 306, 315, 700, 33723, 34377, 34665, 34675, 34853, 40000, 65000]
)
def test_tag_that_does_not_matter(tag: int) -> None:
    data = tiff(np.arange(64, dtype=np.uint8) * 4, (8, 8), bits=8).getvalue()
    plain = one(BytesIO(data), 8)
    at = struct.unpack_from("<I", data, 4)[0]
    begin = struct.pack("<H", struct.unpack_from("<H", data, at)[0] + 1) + data[at + 2 : -4]
    kinds, numbers, values = (0, 1, 2, 3, 4, 5, 7, 12, 13, 16, 99), (1, 2, 1000, 0xFFFFFFFF), (0, 8, 0xFFFFFFFF)
    for kind, number, value in product(kinds, numbers, values):
        more = begin + struct.pack("<HHII", tag, kind, number, value) + bytes(4)
        assert np.array_equal(one(BytesIO(data[:at] + more), 8), plain), (kind, number, value)
