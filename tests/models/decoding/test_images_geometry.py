"""A crop is that of the whole picture resized, upright, and moved by no pixel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from models.decoding.images import decode
from tests.models.pictures import BLUE, GREEN, RED, WHITE, encode, naive, noise, one, quadrants, turned, worst
from tests.models.pictures import transform as make_transform


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
    file = turned(image, "PNG", orientation)
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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "AVIF", "HEIF"])
def test_every_orientation_ends_upright(format_: str, orientation: int) -> None:
    crop = one(turned(quadrants(64), format_, orientation), 64)
    middles = crop[16::32, 16::32].reshape(4, 3)
    assert worst(middles, np.array([RED, GREEN, BLUE, WHITE])) <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(101, 64), (64, 102), (90, 71)])
@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_orientation_moves_the_crop_by_no_pixel(format_: str, size: tuple[int, int], orientation: int) -> None:
    image, transform = noise(*size), make_transform(33, 24)
    crop = decode(turned(image, format_, orientation), [transform])[0]
    assert worst(crop, naive(image, transform)) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_reduced_jpeg(orientation: int) -> None:
    smooth = noise(12, 9).resize((1201, 899), Image.Resampling.BICUBIC)
    transform = make_transform(64, 56)
    crop = decode(turned(smooth, "JPEG", orientation), [transform])[0]
    assert worst(crop, naive(smooth, transform)) <= 6


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x01"]
)
def test_broken_exif_does_not_spoil_the_picture(exif: bytes) -> None:
    for format_ in ("PNG", "JPEG"):
        crop = one(encode(quadrants(), format_, exif=exif), 32)
        assert worst(crop[8::16, 8::16], np.asarray(quadrants())[8::16, 8::16]) <= 4


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_unknown_orientation_is_upright(value: int) -> None:
    wide = noise(60, 40)
    assert np.array_equal(one(turned(wide, "PNG", value), 40), np.asarray(wide)[:, 10:50])


def test_camera_orientation_sets_show_one_picture(shared_data: Path) -> None:
    transform = make_transform(64, 56)
    for shape in ("Landscape", "Portrait"):
        crops = []
        for number in range(9):
            with (shared_data / "exif_orientation18" / f"{shape}_{number}.jpg").open("rb") as file:
                crops.append(decode(file, [transform])[0].astype(int))
        assert max(np.abs(crop - crops[0]).mean() for crop in crops) < 4
