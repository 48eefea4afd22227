"""Large pictures are decoded smaller, or averaged before they are resampled, and hardly anything changes."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.decoding.images import Transform, decode
from tests.models.pictures import encode, naive, noise, turned, worst
from tests.models.pictures import transform as make_transform

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
    file = turned(blocks(*size), "TIFF", orientation)
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
