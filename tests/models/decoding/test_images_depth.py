"""Samples of every depth, kind and layout become the 8 bits that their writer meant."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from models.decoding.images import decode
from tests.models.pictures import WHITE, encode, noise, one, png, quadrants, tiff, transform, worst

LEVELS = np.asarray(noise(64, 48))
GREY = np.asarray(noise(64, 48).convert("L"))
ALPHA = np.tile(np.repeat(np.array([255, 255, 255, 0], np.uint8), 16), (48, 1))

Order = Literal["<", ">"]


def packed(values: npt.NDArray[Any], bits: int, order: Order) -> bytes:
    """Rows of samples: whole bytes in the byte order, all else without gaps but at the end of a row."""
    if bits % 8 == 0:
        return values.astype(values.dtype.newbyteorder(order)).tobytes()
    rows = values.reshape(len(values), -1, 1) >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(rows.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def made(
    values: npt.NDArray[Any], bits: int, order: Order = "<", *, planar: bool = False, big: bool = False, **more: Any
) -> BytesIO:
    """A TIFF of (height, width, samples) values, in strips of 7 rows or in tiles, plain or deflated."""
    height, width, count = values.shape
    side, deflated, predictor = more.pop("side", 0), more.pop("deflated", False), more.pop("predictor", 1)
    tags = {256: [width], 257: [height], 258: [bits] * count, 259: [8 if deflated else 1], 277: [count]}
    tags |= {262: [2 if count > 2 else 1], 284: [2 if planar else 1], 317: [predictor]}
    tags |= {int(tag): value for tag, value in more.get("tags", {}).items()}
    chunks = []
    for plane in np.split(values, count, axis=2) if planar else [values]:
        if side:
            padded = np.pad(plane, ((0, -height % side), (0, -width % side), (0, 0)))
            for top in range(0, height, side):
                chunks += [padded[top : top + side, left : left + side] for left in range(0, width, side)]
        else:
            chunks += [plane[top : top + 7] for top in range(0, height, 7)]
    if predictor == 2:
        chunks = [np.diff(chunk, axis=1, prepend=chunk[:, :1] * 0) for chunk in chunks]
    pieces = [packed(chunk, bits, order) for chunk in chunks]
    pieces = [zlib.compress(piece) for piece in pieces] if deflated else pieces
    places = (np.cumsum([16] + [len(piece) for piece in pieces])[:-1]).tolist()
    lengths = [len(piece) for piece in pieces]
    tags |= {322: [side], 323: [side], 324: places, 325: lengths} if side else {273: places, 278: [7], 279: lengths}
    return BytesIO(assembled(b"".join(pieces), tags, order, big))


def assembled(pixels: bytes, tags: dict[int, list[int]], order: Order, big: bool) -> bytes:
    start = 16 + len(pixels)
    letter, room, counts = ("Q", 8, "Q") if big else ("I", 4, "H")
    after = start + struct.calcsize(order + counts) + len(tags) * (12 + 2 * room - 8) + room
    entries, outside = b"", b""
    for tag, values in sorted(tags.items()):
        field = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(field) > room:
            field, outside = struct.pack(order + letter, after + len(outside)), outside + field
        entries += struct.pack(f"{order}HH{letter}", tag, 16 if big else 4, len(values)) + field
    mark = b"II" if order == "<" else b"MM"
    if big:
        head = struct.pack(order + "2sHHHQ", mark, 43, 8, 0, start)
    else:
        head = struct.pack(order + "2sHI8x", mark, 42, start)
    directory = struct.pack(order + counts, len(tags)) + entries + bytes(room)
    return head + pixels + directory + outside


def seen(file: BytesIO) -> npt.NDArray[np.uint8]:
    return one(file, 48)


def expected(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return one(encode(Image.fromarray(values), "PNG"), 48)


LAYOUTS: list[dict[str, Any]] = [
    {},
    {"planar": True},
    {"side": 16},
    {"side": 32, "planar": True},
    {"deflated": True},
    {"deflated": True, "planar": True, "side": 16},
]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", ["u4", "u2", "u1", "f2", "f4", "f8"])
def test_colours_of_every_kind(kind: str, big: bool, order: Order) -> None:
    bits = 8 * np.dtype(kind).itemsize
    values = {"u2": LEVELS.astype("u2") * 257, "u1": LEVELS}.get(kind, LEVELS.astype(kind))
    tags = {339: [3 if kind[0] == "f" else 1]}
    for layout in LAYOUTS:
        found = seen(made(values, bits, order, big=big, tags=tags, **layout))
        assert worst(found, expected(LEVELS)) <= 1, layout


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("colours", [1, 3])
def test_alpha_of_every_kind(colours: int, kind: str, order: Order) -> None:
    shown = GREY[..., None] if colours == 1 else LEVELS
    values = np.dstack([shown, ALPHA]).astype(kind)
    values = values * 257 if kind == "u2" else values
    tags = {338: [2], 339: [3 if kind[0] == "f" else 1]}
    wanted = np.where(ALPHA[..., None] > 0, np.broadcast_to(shown, (48, 64, 3)), np.uint8(255))
    for layout in LAYOUTS:
        found = seen(made(values, 8 * values.dtype.itemsize, order, tags=tags, **layout))
        assert worst(found, expected(wanted)) <= 1, layout


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("bits", [8, 16])
def test_samples_that_nothing_is_said_of(bits: int, layout: dict[str, Any], order: Order) -> None:
    zero = np.zeros_like(GREY)
    for more in (1, 2):
        values = np.dstack([LEVELS] + [zero] * more).astype(f"u{bits // 8}") * (257 if bits == 16 else 1)
        found = seen(made(values, bits, order, tags={338: [0] * more}, **layout))
        assert worst(found, expected(LEVELS)) <= 1


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("count", [1, 3])
def test_depths_in_between(count: int, bits: int, deflated: bool) -> None:
    levels = (LEVELS if count == 3 else GREY[..., None]).astype(np.uint16)
    stored = levels >> (8 - bits) if bits < 8 else levels << (bits - 8)
    wanted = np.broadcast_to(np.rint(stored * (255 / ((1 << bits) - 1))).astype(np.uint8), (48, 64, 3))
    assert worst(seen(made(stored, bits, deflated=deflated)), expected(np.ascontiguousarray(wanted))) <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u2", "u4"])
@pytest.mark.parametrize("planar", [False, True])
def test_differences_are_summed_up(planar: bool, kind: str, order: Order) -> None:
    values = LEVELS.astype(kind) * (257 if kind == "u2" else 1)
    bits = 8 * values.dtype.itemsize
    found = seen(made(values, bits, order, planar=planar, deflated=True, predictor=2))
    assert worst(found, expected(LEVELS)) <= 1


def test_signs_and_large_numbers() -> None:
    wide = np.linspace(0, 255, 48 * 64).reshape(48, 64, 1)
    wanted = expected(np.rint(wide[..., 0]).astype(np.uint8))
    signed = (wide - 128).astype(np.int8)
    assert worst(seen(made(signed, 8, tags={339: [2]})), wanted) <= 2
    for order in ("<", ">"):
        assert worst(seen(made((wide * 16_000_000).astype("u4"), 32, order)), wanted) <= 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_white_is_zero(order: Order) -> None:
    for bits, factor in ((12, 16), (16, 257)):
        stored = ((255 - GREY[..., None].astype(np.uint16)) * factor).astype(np.uint16)
        found = seen(made(stored, bits, order, tags={262: [0]}))
        assert worst(found, expected(GREY)) <= 1


def test_a_palette_of_8_bits() -> None:
    palette = np.random.default_rng(0).integers(0, 256, (3, 256))
    tags = {262: [3], 320: palette.reshape(-1).tolist()}
    wanted = palette.T[GREY].astype(np.uint8)
    assert worst(seen(made(GREY[..., None], 8, tags=tags)), expected(wanted)) <= 1


@pytest.mark.parametrize("deflated", [False, True])
def test_planes_of_lightness_and_colour(deflated: bool) -> None:
    picture = noise(64, 48).convert("RGB")
    lab = np.dstack([GREY, np.zeros_like(GREY), np.zeros_like(GREY)])
    together = seen(made(lab, 8, tags={262: [8]}))
    assert np.array_equal(seen(made(lab, 8, planar=True, deflated=deflated, tags={262: [8]})), together)
    assert picture.size == (64, 48)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_it_is_turned_upright(orientation: int, order: Order) -> None:
    values = np.asarray(quadrants(48)).astype(np.uint16) * 257
    plain = Image.fromarray((values >> 8).astype(np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    wanted = one(encode(plain, "TIFF", exif=exif.tobytes()), 48)
    assert worst(one(made(values, 16, order, tags={274: [orientation]}), 48), wanted) <= 1


# Ranges that are not in use


def deep_png(values: npt.NDArray[Any], colour: int, *chunks: tuple[bytes, bytes]) -> BytesIO:
    height, width = values.shape[:2]
    rows = values.astype(">u2").reshape(height, -1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    return png((width, height), 16, colour, body, *chunks)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_colours_that_use_a_part_of_16_bits(bits: int) -> None:
    values = LEVELS.astype(np.uint16) << (bits - 8)
    for file in (deep_png(values, 2), made(values, 16), made(values, 16, ">", planar=True)):
        assert worst(seen(file), expected(LEVELS)) <= 1


@pytest.mark.parametrize("opaque", [4095, 65535])
@pytest.mark.parametrize("colour", [4, 6])
def test_alpha_beside_a_part_of_16_bits(colour: int, opaque: int) -> None:
    shown = GREY[..., None] if colour == 4 else LEVELS
    values = np.dstack([shown.astype(np.uint16) << 4, np.where(ALPHA > 0, opaque, 0)]).astype(np.uint16)
    wanted = np.where(ALPHA[..., None] > 0, np.broadcast_to(shown, (48, 64, 3)), np.uint8(255))
    for file in (deep_png(values, colour), made(values, 16, tags={338: [2]})):
        assert worst(seen(file), expected(wanted)) <= 1


def test_a_colour_of_12_bits_that_is_transparent() -> None:
    values = LEVELS.astype(np.uint16) << 4
    values[:, 48:] = (3, 2, 1)
    found = seen(deep_png(values, 2, (b"tRNS", struct.pack(">3H", 3, 2, 1))))
    assert (found[:, 41:] == WHITE).all()
    assert worst(found[:, :30], expected(LEVELS)[:, :30]) <= 1


SLOPE = np.tile(np.linspace(0, 255, 128), (128, 1))


def warm(low: int, step: float) -> npt.NDArray[np.uint16]:
    return (SLOPE * step + low).astype(np.uint16)


@pytest.mark.parametrize("apart", ["logo", "scale", "frame", "broken pixels", "two marks"])
def test_what_lies_apart_does_not_make_a_picture_flat(apart: str) -> None:
    values = warm(29000, 1.5)
    clean = one(encode(Image.fromarray(values), "PNG"), 128)
    if apart == "logo":
        values[:12, :40] = 65535
    elif apart == "scale":
        values[:12, :40], values[-10:, :20] = 65535, 0
    elif apart == "frame":
        values[:16] = 0
    elif apart == "broken pixels":
        values[::13, ::13] = 65535
    else:
        values[:5], values[5:10], values[10:15] = 65535, 60000, 0
    untouched = values == warm(29000, 1.5)
    for file in (encode(Image.fromarray(values), "PNG"), encode(Image.fromarray(values), "TIFF")):
        assert worst(one(file, 128)[untouched], clean[untouched]) <= 1


def test_broken_pixels_of_12_bits() -> None:
    values = warm(0, 16)
    clean = one(encode(Image.fromarray(values), "PNG"), 128)
    values[::20, ::20] = 65535
    untouched = values == warm(0, 16)
    assert worst(one(encode(Image.fromarray(values), "PNG"), 128)[untouched], clean[untouched]) <= 1


def test_few_levels_stay_apart() -> None:
    """A drawing has few levels, and none of them is a fault."""
    values = np.repeat(np.array([0, 100, 200, 65535], np.uint16), 16)[None].repeat(64, axis=0)
    assert np.array_equal(one(encode(Image.fromarray(values), "PNG"), 64)[..., 0], values >> 8)


@pytest.mark.parametrize("nothing", [-9999.0, -3.4e38, 1e20, -32768.0])
@pytest.mark.parametrize("share", [0.01, 0.3])
def test_a_map_without_values_at_places(nothing: float, share: float) -> None:
    heights = np.tile(np.linspace(300, 900, 64, dtype=np.float32), (64, 1))
    clean = one(tiff(heights, (64, 64), bits=32, sample_format=3), 64)
    heights[: max(1, int(64 * share))] = nothing
    found = one(tiff(heights, (64, 64), bits=32, sample_format=3), 64)
    assert worst(found[32:], clean[32:]) <= 1


# What was left out, and what comes first


@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_of_a_tiff_that_was_left_out(bits: int) -> None:
    values = np.dstack([LEVELS, np.zeros_like(GREY)]).astype(f"u{bits // 8}") * (257 if bits == 16 else 1)
    assert worst(seen(made(values, bits, tags={338: [2]})), expected(LEVELS)) <= 1


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
@pytest.mark.parametrize("blank", [1, 3])
def test_a_page_that_shows_something(mode: str, blank: int) -> None:
    pages = [Image.new(mode, (64, 48), "white")] * blank + [noise(64, 48).convert(mode)]
    file = BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    assert np.array_equal(seen(file), seen(encode(pages[-1], "TIFF")))


def test_the_first_page_is_the_picture() -> None:
    file = BytesIO()
    noise(64, 48).save(file, "TIFF", save_all=True, append_images=[quadrants(48)])
    assert np.array_equal(seen(file), expected(LEVELS))


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP"])
def test_a_picture_that_fades_in(format_: str) -> None:
    white, picture = Image.new("RGB", (32, 32), WHITE), quadrants()
    frames = [Image.blend(white, picture, step / 12) for step in range(13)]
    file = encode(frames[1], format_, save_all=True, append_images=frames[2:], duration=40)
    assert np.abs(one(file, 32).astype(int) - np.asarray(picture)).mean() < 40


def test_a_faint_animation_is_its_first_frame() -> None:
    faint = [Image.fromarray((np.asarray(noise(32, 32, seed)) // 4) + 100) for seed in range(3)]
    file = encode(faint[0], "PNG", save_all=True, append_images=faint[1:], duration=40)
    assert np.array_equal(one(file, 32), np.asarray(faint[0]))


def test_it_is_cut_to_any_size() -> None:
    values = LEVELS.astype(np.uint16) * 257
    shapes = [crop.shape for crop in decode(made(values, 16), [transform(24), transform(96, 64)])]
    assert shapes == [(24, 24, 3), (64, 64, 3)]
