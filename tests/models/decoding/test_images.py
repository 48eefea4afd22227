"""Every kind of image file is recognised by its content and decoded, and nothing is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.decoding import images
from models.decoding.images import Header, Transform, decode, read_header
from models.errors import ImageError
from models.files.image_names import IMAGE_SUFFIXES, is_image_name
from tests.models.pictures import BLUE, FORMATS, GREEN, LOSSLESS, RED, WHITE, encode, noise, one, quadrants, worst
from tests.models.pictures import transform as make_transform


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


def test_fingerprint_changes_with_every_field_and_with_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
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
    prints.add(before := Transform(**base).fingerprint)
    assert Transform(**base).fingerprint == before
    monkeypatch.setattr(images, "DECODE_VERSION", images.DECODE_VERSION + 1)
    prints.add(Transform(**base).fingerprint)
    assert len(prints) == 8


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
        "import sys, models.decoding.images;"
        "print([name for name in sys.modules if name in ('torch', 'pillow_heif') or name.endswith('ImagePlugin')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
