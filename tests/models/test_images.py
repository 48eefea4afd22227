"""Every kind of picture becomes the RGB crop that a person would call right, to the pixel where that can be said."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, ImageFile, ImageOps

from models.errors import ImageError
from models.images import DECODE_VERSION, IMAGE_SUFFIXES, Header, Transform, decode, is_image_name, read_header
from tests.models.pictures import BLUE, FORMATS, GREEN, LOSSLESS, RED, WHITE, encode, noise, one, png, quadrants, tiff
from tests.models.pictures import transform as make_transform

ORIENTATION = 0x0112
#: How a picture must be stored so that the orientation turns it upright.
STORED: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda image: image,
    2: ImageOps.mirror,
    3: lambda image: image.rotate(180),
    4: ImageOps.flip,
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.rotate(90, expand=True),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.rotate(-90, expand=True),
}


def naive(image: Image.Image, transform: Transform) -> npt.NDArray[np.int64]:
    """Resize all of it, then cut the middle out, as torchvision's PIL transforms do."""
    width, height = image.size
    shorter, longer = sorted(image.size)
    other = int(transform.resize * longer / shorter)
    size = (transform.resize, other) if width <= height else (other, transform.resize)
    resized = image.convert("RGB").resize(size, getattr(Image.Resampling, transform.interpolation.upper()))
    left, top = (round((edge - transform.crop) / 2.0) for edge in size)
    return np.asarray(resized.crop((left, top, left + transform.crop, top + transform.crop))).astype(int)


def worst(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> int:
    return int(np.abs(first.astype(int) - second.astype(int)).max())


def flat(crop: npt.NDArray[Any], tolerance: int = 0) -> tuple[int, ...]:
    """The one colour of a crop that has only one."""
    assert worst(crop, crop[:1, :1]) <= tolerance
    return tuple(int(value) for value in crop[0, 0])


# Formats and names


@pytest.mark.parametrize("format_", FORMATS)
def test_each_format_shows_its_colours(format_: str) -> None:
    crop = one(encode(quadrants(), format_), 32)
    assert worst(crop, np.asarray(quadrants())) <= (0 if format_ in LOSSLESS else 40)
    middles = crop[8::16, 8::16].reshape(4, 3)
    assert worst(middles, np.array([RED, GREEN, BLUE, WHITE])) <= (0 if format_ in LOSSLESS else 4)


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(quadrants(), "PNG").getvalue())
    with path.open("rb") as file:
        file.read(5)  # wherever it stands, it is read from its beginning
        assert np.array_equal(decode(file, [make_transform(32)])[0], np.asarray(quadrants()))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jpg", True), ("A.JPG", True), ("b.x.HeIc", True), ("c.jpg.part", False), ("jpg", False), (".png", False)]
    + [(f"photo{suffix.upper()}", True) for suffix in sorted(IMAGE_SUFFIXES)]
    + [("d.pdf", False), ("line\nbreak.png", True), ("\udcff.gif", True), ("e.svg", False)],
)
def test_is_image_name(name: str, expected: bool) -> None:
    assert is_image_name(name) is expected


def test_suffixes_are_lower_case_with_a_dot() -> None:
    names = "jpg jpeg jpe jfif png webp gif bmp dib tif tiff avif heic heif hif"
    assert {f".{name}" for name in names.split()} == IMAGE_SUFFIXES


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_first_frame_of_many(format_: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN, BLUE)]
    file = encode(frames[0], format_, save_all=True, append_images=frames[1:])
    with Image.open(file) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert worst(one(file, 32), np.array(RED)) <= 2


@pytest.mark.parametrize(
    ("format_", "frames"), [("GIF", 3), ("PNG", 2), ("WEBP", 2), ("TIFF", 2), ("JPEG", 1), ("PNG", 1)]
)
def test_a_header_tells_the_size_and_whether_there_are_more_frames(format_: str, frames: int) -> None:
    pictures = [noise(40, 30, seed) for seed in range(frames)]
    more: dict[str, Any] = {"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}
    file = BytesIO()
    pictures[0].save(file, format_, **more)
    assert read_header(file) == Header(40, 30, frames > 1)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"text", "not-an-image"), (b"\x89PNG\r\n\x1a\n", "corrupt")]
)
def test_a_header_that_is_none_is_refused_as_decoding_refuses_it(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as refused:
        read_header(BytesIO(content))
    with pytest.raises(ImageError) as undecoded:
        decode(BytesIO(content), [])
    assert refused.value.reason == undecoded.value.reason


def test_first_picture_of_a_multi_picture_jpeg() -> None:
    file = BytesIO()
    Image.new("RGB", (32, 32), RED).save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (32, 32), BLUE)])
    assert worst(one(file, 32), np.array(RED)) <= 2


# Geometry


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("size", "resize", "crop"),
    [
        ((100, 75), 64, 56),
        ((75, 100), 64, 56),
        ((333, 257), 64, 57),
        ((257, 334), 65, 56),
        ((640, 31), 48, 48),
        ((20, 17), 64, 56),
        ((64, 64), 64, 64),
        ((64, 97), 64, 64),
        ((65, 64), 64, 64),
        ((1, 1), 64, 56),
        ((1, 9), 16, 16),
    ],
)
def test_crop_is_that_of_resizing_the_whole(size: tuple[int, int], resize: int, crop: int, interpolation: str) -> None:
    image, transform = noise(*size), make_transform(resize, crop, interpolation)
    assert worst(decode(encode(image, "PNG"), [transform])[0], naive(image, transform)) <= 1


@pytest.mark.parametrize("orientation", [1, 6, 7])
@pytest.mark.parametrize("size", [(90, 71), (31, 160), (64, 64)])
def test_stretching_keeps_all_of_the_picture(size: tuple[int, int], orientation: int) -> None:
    image, transform = noise(*size), replace(make_transform(48), stretch=True)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = encode(STORED[orientation](image), "PNG", exif=exif.tobytes())
    expected = np.asarray(image.resize((48, 48), Image.Resampling.BICUBIC))
    assert worst(decode(file, [transform])[0], expected) <= 1


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (2, 65500), (65500, 3)])
def test_extreme_shapes_show_their_middle(size: tuple[int, int]) -> None:
    longer = max(size)
    ramp = np.linspace(0, 255, longer).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(ramp[:, None] if size[1] == longer else ramp[None, :], size[::-1]).copy())
    assert worst(one(encode(image, "PNG"), 224), np.array(127)) <= 1


def test_several_transforms_share_one_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[object] = []
    load = ImageFile.ImageFile.load

    def spy(self: ImageFile.ImageFile) -> Any:
        loads.append(self)
        return load(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", spy)
    image = noise(120, 90)
    transforms = [make_transform(32), make_transform(64, 56, "bilinear"), make_transform(16)]
    crops = decode(encode(image, "BMP"), transforms)
    assert len(set(map(id, loads))) == 1
    assert [crop.shape for crop in crops] == [(32, 32, 3), (56, 56, 3), (16, 16, 3)]
    assert all(worst(crop, naive(image, transform)) <= 1 for crop, transform in zip(crops, transforms, strict=True))
    assert decode(encode(image, "JPEG"), []) == []


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_crops_are_plain_arrays_of_their_own(mode: str) -> None:
    crop = one(encode(quadrants().convert(mode), "PNG"), 32)
    assert crop.dtype == np.uint8
    assert crop.flags.writeable
    assert crop.flags.c_contiguous


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_every_orientation_ends_upright(format_: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    crop = one(encode(STORED[orientation](quadrants(64)), format_, exif=exif.tobytes()), 64)
    middles = crop[16::32, 16::32].reshape(4, 3)
    assert worst(middles, np.array([RED, GREEN, BLUE, WHITE])) <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(101, 64), (64, 102), (90, 71)])
@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_orientation_moves_the_crop_by_no_pixel(format_: str, size: tuple[int, int], orientation: int) -> None:
    image, transform = noise(*size), make_transform(33, 24)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = encode(STORED[orientation](image), format_, exif=exif.tobytes())
    assert worst(decode(file, [transform])[0], naive(image, transform)) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_reduced_jpeg(orientation: int) -> None:
    smooth = noise(12, 9).resize((1201, 899), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = encode(STORED[orientation](smooth), "JPEG", exif=exif.tobytes())
    transform = make_transform(64, 56)
    assert worst(decode(file, [transform])[0], naive(smooth, transform)) <= 6


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x01"]
)
def test_broken_exif_does_not_spoil_the_picture(exif: bytes) -> None:
    for format_ in ("PNG", "JPEG"):
        assert (
            worst(one(encode(quadrants(), format_, exif=exif), 32)[8::16, 8::16], np.asarray(quadrants())[8::16, 8::16])
            <= 4
        )


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_unknown_orientation_is_upright(value: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    wide = noise(60, 40)
    assert np.array_equal(one(encode(wide, "PNG", exif=exif.tobytes()), 40), np.asarray(wide)[:, 10:50])


def test_camera_orientation_sets_show_one_picture(shared_data: Path) -> None:
    transform = make_transform(64, 56)
    for shape in ("Landscape", "Portrait"):
        crops = []
        for number in range(9):
            with (shared_data / "exif_orientation18" / f"{shape}_{number}.jpg").open("rb") as file:
                crops.append(decode(file, [transform])[0].astype(int))
        assert max(np.abs(crop - crops[0]).mean() for crop in crops) < 4


# Transparency


def on_white(colour: tuple[int, ...], alpha: int) -> tuple[int, ...]:
    return tuple(round((value * alpha + 255 * (255 - alpha)) / 255) for value in colour)


@pytest.mark.parametrize("alpha", [0, 1, 77, 128, 254, 255])
@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_alpha_is_laid_on_white(format_: str, alpha: int) -> None:
    file = encode(Image.new("RGBA", (32, 32), (200, 100, 0, alpha)), format_)
    expected = on_white((200, 100, 0), alpha)
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


# Reduced-size decode


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(2001, 1503), (1503, 2001), (4100, 515)])
def test_reduced_jpeg_looks_like_the_full_one(size: tuple[int, int], mode: str) -> None:
    smooth = noise(24, 24).resize(size, Image.Resampling.BICUBIC).convert(mode)
    file, transforms = encode(smooth, "JPEG"), [make_transform(64, 56), replace(make_transform(32), stretch=True)]
    for full, reduced in zip(decode(file, transforms, reduce=False), decode(file, transforms), strict=True):
        assert np.abs(full.astype(int) - reduced).mean() < 2


def test_reduction_leaves_enough_for_the_largest_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def spy(self: Image.Image, *args: Any, **options: Any) -> Image.Image:
        loaded.append(self.size)
        return resize(self, *args, **options)

    file = encode(noise(24, 24).resize((1600, 1200)), "JPEG")
    monkeypatch.setattr(Image.Image, "resize", spy)
    decode(file, [make_transform(32), make_transform(256, 224)])
    decode(file, [make_transform(32), make_transform(256, 224)], reduce=False)
    decode(file, [make_transform(32)])
    assert loaded == [(800, 600)] * 2 + [(1600, 1200)] * 2 + [(200, 150)]


# Averaging before resampling


def blocks(width: int, height: int) -> Image.Image:
    """Hard edges across and down, at every distance from a multiple of any small factor."""
    across, down = np.arange(width) * 2 // 47, np.arange(height) * 2 // 53
    levels = np.random.default_rng(width).integers(0, 256, (down[-1] + 1, across[-1] + 1, 3), dtype=np.uint8)
    return Image.fromarray(levels[down[:, None], across[None, :]])


def assert_hardly_changed(file: BytesIO, transforms: list[Transform]) -> None:
    """Averaging changes the crops, and by less than one pixel of the picture aside would: 2 levels and more."""
    for full, averaged in zip(decode(file, transforms, reduce=False), decode(file, transforms), strict=True):
        assert 0 < np.abs(full.astype(int) - averaged).mean() < 1
        assert worst(full, averaged) <= 16


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1003, 757), (757, 1003), (601, 599), (2999, 431)])
def test_averaging_moves_nothing(size: tuple[int, int], orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = encode(STORED[orientation](blocks(*size)), "TIFF", exif=exif.tobytes())
    assert_hardly_changed(
        file, [make_transform(51, 37), make_transform(43, 37, "bilinear"), replace(make_transform(29), stretch=True)]
    )


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA"])
def test_averaging_in_other_modes(mode: str) -> None:
    image = blocks(1003, 757)
    if mode.endswith("A"):
        image.putalpha(blocks(1003, 757).getchannel("G"))
    assert_hardly_changed(encode(image.convert(mode), "PNG"), [make_transform(51, 37)])


@pytest.mark.parametrize(("format_", "reduce"), [("BMP", True), ("BMP", False), ("JPEG", True), ("JPEG", False)])
def test_averaging_leaves_four_pixels_for_one(monkeypatch: pytest.MonkeyPatch, format_: str, reduce: bool) -> None:
    factors: list[tuple[int, int]] = []
    average = Image.Image.reduce

    def spy(self: Image.Image, factor: Any, box: Any = None) -> Image.Image:
        factors.append(factor)
        return average(self, factor, box)

    monkeypatch.setattr(Image.Image, "reduce", spy)
    file = encode(noise(24, 24).resize((1200, 900)), format_)
    for size in (225, 114, 111, 60, 20):
        decode(file, [make_transform(size)], reduce=reduce)
    # What the decoder of a JPEG leaves is too little to be averaged as well.
    assert factors == ([(2, 2), (3, 3), (11, 11)] if reduce and format_ == "BMP" else [])


def test_without_averaging_the_crop_is_that_of_resizing_the_whole() -> None:
    image, transform = blocks(1003, 757), make_transform(51, 37)
    assert worst(decode(encode(image, "BMP"), [transform], reduce=False)[0], naive(image, transform)) <= 2


def test_small_and_large_transforms_are_averaged_each_for_itself() -> None:
    file, small, large = encode(blocks(1003, 757), "PNG"), make_transform(20), make_transform(150, 120)
    together = decode(file, [small, large])
    assert np.array_equal(together[0], decode(file, [small])[0])
    assert np.array_equal(together[1], decode(file, [large], reduce=False)[0])


# What surrounds a decode


def test_fingerprint_changes_with_every_field() -> None:
    half = (0.5, 0.5, 0.5)
    base: dict[str, Any] = {"resize": 8, "crop": 8, "interpolation": "bicubic", "mean": half, "std": half}
    other = {
        "resize": 9,
        "crop": 7,
        "interpolation": "bilinear",
        "mean": (0.4,) * 3,
        "std": (0.4,) * 3,
        "stretch": True,
    }
    prints = {Transform(**base | {field: value}).fingerprint for field, value in other.items()}
    assert len(prints | {Transform(**base).fingerprint}) == 7
    assert DECODE_VERSION == 2
    assert Transform(**base).fingerprint == Transform(**base).fingerprint


def test_threads_decode_side_by_side() -> None:
    image = noise(200, 150)
    files = [encode(image, format_).getvalue() for format_ in FORMATS] * 4
    transform = make_transform(64, 56)
    alone = [decode(BytesIO(data), [transform])[0] for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: decode(BytesIO(data), [transform])[0], files))
    assert all(np.array_equal(first, second) for first, second in zip(alone, together, strict=True))


def test_import_brings_no_decoder_and_no_torch_along() -> None:
    code = (
        "import sys, models.images;"
        "print([name for name in sys.modules if name in ('torch', 'pillow_heif') or name.endswith('ImagePlugin')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
