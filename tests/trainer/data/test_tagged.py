"""Classes of a data set from tags: what people have tagged counts, and only where it names one class."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from models.errors import UserError
from models.xmp.tags import Tag, merge
from tests.models.xmp.sidecars import LIGHTROOM, with_subject
from trainer.data.tagged import TagCounts, scan_tags


def picture(path: Path, *, xmp: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (8, 8))
    if xmp:
        image.save(path, xmp=xmp)
    else:
        image.save(path)
    return path


def tagged(*names: str) -> bytes:
    entries = "".join(f"<rdf:li>{name}</rdf:li>" for name in names)
    return with_subject(f"<dc:subject><rdf:Bag>{entries}</rdf:Bag></dc:subject>")


def labels(folder: Path, *classes: str, nested: bool = False) -> tuple[dict[str, str], TagCounts]:
    found, counts = scan_tags(folder, classes=classes, nested=nested)
    return {file.name: file.label for file in found.files}, counts


def test_sidecars_name_the_class_wherever_the_images_lie(tmp_path: Path) -> None:
    Path(f"{picture(tmp_path / 'a.jpg')}.xmp").write_bytes(tagged("dog"))
    picture(tmp_path / "deep" / "b.png").with_suffix(".xmp").write_bytes(tagged("cat"))
    picture(tmp_path / "c.jpg", xmp=tagged("cat"))
    picture(tmp_path / "none.jpg")
    Path(f"{picture(tmp_path / 'two.jpg')}.xmp").write_bytes(tagged("cat", "dog"))
    Path(f"{picture(tmp_path / 'bad.jpg')}.xmp").write_bytes(b"<!DOCTYPE a><a/>")
    assert labels(tmp_path) == ({"a.jpg": "dog", "deep/b.png": "cat", "c.jpg": "cat"}, TagCounts(2, 1, 1))


def test_only_given_tags_are_classes(tmp_path: Path) -> None:
    Path(f"{picture(tmp_path / 'a.jpg')}.xmp").write_bytes(tagged("dog", "holiday"))
    Path(f"{picture(tmp_path / 'b.jpg')}.xmp").write_bytes(tagged("cat", "sea"))
    assert labels(tmp_path, "cat", "dog") == ({"a.jpg": "dog", "b.jpg": "cat"}, TagCounts())


def test_paths_come_before_plain_tags(tmp_path: Path) -> None:
    for name, label in (("a.jpg", "animals/dog"), ("b.jpg", "animals/cat")):
        Path(f"{picture(tmp_path / name)}.xmp").write_bytes(merge(tagged("holiday"), Tag(label)))
    assert labels(tmp_path)[0] == {"a.jpg": "dog", "b.jpg": "cat"}
    assert labels(tmp_path, nested=True)[0] == {"a.jpg": "animals/dog", "b.jpg": "animals/cat"}
    assert labels(tmp_path, "animals/dog", "animals/cat")[0] == {"a.jpg": "animals/dog", "b.jpg": "animals/cat"}
    assert labels(tmp_path, "dog", "cat")[0] == {"a.jpg": "dog", "b.jpg": "cat"}


def test_what_a_model_of_ours_has_tagged_does_not_count(tmp_path: Path) -> None:
    for name, tag in (("a.jpg", Tag("dog")), ("b.jpg", Tag("cat")), ("c.jpg", Tag("cat", 0.9, "m"))):
        Path(f"{picture(tmp_path / name)}.xmp").write_bytes(merge(None, tag))
    Path(f"{picture(tmp_path / 'd.jpg')}.xmp").write_bytes(merge(tagged("dog"), Tag("cat", 0.9, "m")))
    assert labels(tmp_path) == ({"a.jpg": "dog", "b.jpg": "cat", "d.jpg": "dog"}, TagCounts(without=1))


def test_the_sidecar_of_raw_data_is_not_that_of_an_image(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg").with_suffix(".xmp").write_bytes(LIGHTROOM)
    for name, label in (("b.jpg", "dog"), ("c.jpg", "cat")):
        Path(f"{picture(tmp_path / name)}.xmp").write_bytes(tagged(label))
    picture(tmp_path / "b.png")
    (tmp_path / "b.xmp").write_bytes(tagged("whose"))
    assert labels(tmp_path) == ({"b.jpg": "dog", "c.jpg": "cat"}, TagCounts(without=2))


def test_too_few_classes_say_what_to_do(tmp_path: Path) -> None:
    Path(f"{picture(tmp_path / 'a.jpg')}.xmp").write_bytes(tagged("dog"))
    with pytest.raises(UserError, match="name 1 classes, and at least two are needed"):
        scan_tags(tmp_path)
    Path(f"{picture(tmp_path / 'c.jpg')}.xmp").write_bytes(merge(None, Tag("cat", 0.9, "m")))
    with pytest.raises(UserError, match=r"people gave .* name 1 classes.*: the model's own tags \(1\) do not count"):
        scan_tags(tmp_path)
    Path(f"{picture(tmp_path / 'b.jpg')}.xmp").write_bytes(tagged("a:b"))
    with pytest.raises(UserError, match="say with --tags which tags are classes"):
        scan_tags(tmp_path)
