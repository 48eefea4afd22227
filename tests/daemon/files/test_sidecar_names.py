"""Which file belongs to which image, by their names alone."""

from __future__ import annotations

import unicodedata

import pytest

from daemon.files.sidecar_names import belongs, owners, renamed


@pytest.mark.parametrize(
    ("sidecar", "image", "expected"),
    [
        ("cat.xmp", "cat.jpg", True), ("cat.XMP", "cat.png", True), ("cat.jpg.xmp", "cat.jpg", True),
        ("cat.jpg.json", "cat.jpg", True), ("cat.png.xmp", "cat.jpg", False), ("cats.xmp", "cat.jpg", False),
        ("cat.mov", "cat.heic", True), ("cat.mov", "cat.png", True), ("cat.jpg.mov", "cat.jpg", False),
        ("cat.nef", "cat.JPG", True), ("cat.txt", "cat.jpg", False), ("a.b.xmp", "a.b.jpg", True),
        ("Cat.xmp", "cat.jpg", True), ("IMG_19.jpg.xmp", "IMG_19.JPG", True), ("img_19.json", "IMG_19.JPG", True),
        (unicodedata.normalize("NFD", "가나다.xmp"), "가나다.jpg", True), ("P1.raf", "P1.tif", True),
        ("IMG_12.jpg.json", "IMG_12-edited.jpg", True), ("IMG_12.jpg.json", "IMG_12-edited.png", False),
        ("IMG_13.jpg(1).json", "IMG_13-edited(1).jpg", True), ("IMG_13.jpg(1).json", "IMG_13-edited.jpg", False),
        ("IMG_12.jpg.xmp", "IMG_12-edited.jpg", False), ("IMG_12.json", "IMG_12-edited.jpg", False),
        ("DSC_22_01.jpg.xmp", "DSC_22.png", False), ("DSC_22.txt.xmp", "DSC_22.jpg", False),
    ],
)  # fmt: skip
def test_who_belongs_to_whom(sidecar: str, image: str, expected: bool) -> None:
    assert belongs(sidecar, image) == expected


def test_names() -> None:
    assert renamed("cat.xmp", "cat.jpg", "cat_2.jpg") == "cat_2.xmp"
    assert renamed("cat.jpg.xmp", "cat.jpg", "cat_2.jpg") == "cat_2.jpg.xmp"
    assert [owners(name) for name in ("cat.jpg.xmp", "cat.MOV", "cat.jpg", ".xmp")] == [["cat.jpg"], ["cat"], [], []]


@pytest.mark.parametrize(
    ("sidecar", "image"),
    [
        ("IMG_2.jpg.supplemental-metadata(1).json", "IMG_2.jpg"), ("x.json", "xy.jpg"),
        ("IMG_2.jpg.supplemental-metadata.json", "IMG_2(1).jpg"), ("IMG_3_HEVC.MOV", "IMG_33.png"),
        ("IMG_2.jpg(1).json", "IMG_2(11).jpg"), ("IMG_1.jpg.package.json", "IMG_1.jpg"),
        ("IMG_O5.aae", "IMG_5.jpg"), ("._x.jpg", "x.jpg"),
    ],
)  # fmt: skip
def test_what_is_no_sidecar_of_an_image(sidecar: str, image: str) -> None:
    assert not belongs(sidecar, image)
