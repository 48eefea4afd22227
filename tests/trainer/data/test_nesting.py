"""Nested data sets: which folder is a class, and what lies directly above classes is left out."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from models.deciding.class_tree import ClassTree
from models.errors import UserError
from models.files.markers import MARKER, Kind, marker_content
from tests.trainer.data.test_dataset import touch
from trainer.data.dataset import ClassFolders, scan


def mark(root: Path, **kinds: Kind) -> None:
    for folder, kind in kinds.items():
        marker = root / folder.replace("__", "/") / MARKER
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_bytes(marker_content(kind))


def labels(found: ClassFolders) -> dict[str, str]:
    return {file.name: file.label for file in found.files}


def test_a_class_is_the_path_of_the_folder_that_holds_its_images(tmp_path: Path) -> None:
    touch(tmp_path, "animals/cat/a.jpg", "animals/birds/owl/b.jpg", "animals/birds/gull/c.jpg", "car/d.jpg")
    found = scan(tmp_path, nested=True)
    assert found.classes == ("animals/birds/gull", "animals/birds/owl", "animals/cat", "car")
    assert (found.coarse, found.nested, found.holds_only_folders) == ((), 0, False)


def test_images_directly_above_classes_are_left_out_and_told(tmp_path: Path) -> None:
    touch(tmp_path, "animals/cat/a.jpg", "animals/dog/b.jpg", "animals/some.jpg", "animals/other.jpg", "car/c.jpg")
    found = scan(tmp_path, nested=True)
    assert found.classes == ("animals/cat", "animals/dog", "car")
    assert [(file.name, file.label) for file in found.coarse] == [
        ("animals/other.jpg", "animals"),
        ("animals/some.jpg", "animals"),
    ]
    assert found.coarse_folders == ["animals"]


def test_a_folder_without_images_makes_none_above_it(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "cat/.hidden/x.jpg", "dog/b.jpg")
    (tmp_path / "cat" / "later").mkdir()
    assert scan(tmp_path, nested=True).classes == ("cat", "dog")


def test_what_people_arrange_below_a_class_of_the_daemon_belongs_to_it(tmp_path: Path) -> None:
    touch(tmp_path, "animals/dog/a.jpg", "animals/dog/best/2024/b.jpg", "animals/cat/c.jpg", "animals/rolled up.jpg")
    mark(tmp_path, animals="class", animals__dog="class", animals__cat="class", others="others")
    touch(tmp_path, "animals/fox/d.jpg", "others/e.jpg")  # a person's new class
    found = scan(tmp_path, nested=True)
    assert labels(found) == {
        "animals/cat/c.jpg": "animals/cat",
        "animals/dog/a.jpg": "animals/dog",
        "animals/dog/best/2024/b.jpg": "animals/dog",
        "animals/fox/d.jpg": "animals/fox",
    }
    assert [file.name for file in found.coarse] == ["animals/rolled up.jpg"]


def test_what_is_rolled_up_is_no_class_even_where_all_classes_are_empty(tmp_path: Path) -> None:
    touch(tmp_path, "animals/a.jpg", "car/b.jpg", "house/c.jpg")
    mark(tmp_path, animals="class", animals__dog="class")
    found = scan(tmp_path, nested=True)
    assert (found.classes, found.coarse_folders) == (("car", "house"), ["animals"])


def test_names_are_composed_and_checked(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "동물/고양이")
    touch(tmp_path, f"{apart}/a.jpg", "동물/강아지/b.jpg")
    assert scan(tmp_path, nested=True).classes == ("동물/강아지", "동물/고양이")
    touch(tmp_path, "차/con/c.jpg")
    with pytest.raises(UserError, match="is a reserved device name"):
        scan(tmp_path, nested=True)


def test_folders_that_differ_in_case_only_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "Animals/cat/a.jpg", "animals/dog/b.jpg")
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("upper and lower case are the same here")
    with pytest.raises(UserError, match="'Animals' and 'animals' are one folder"):
        scan(tmp_path, nested=True)


def test_a_flat_fit_tells_of_folders_that_hold_nothing_but_folders(tmp_path: Path) -> None:
    touch(tmp_path, "animals/cat/a.jpg", "animals/dog/b.jpg", "things/car/c.jpg")
    found = scan(tmp_path)
    assert (found.classes, found.nested, found.holds_only_folders) == (("animals", "things"), 3, True)
    touch(tmp_path, "things/d.jpg")
    assert not scan(tmp_path).holds_only_folders


def test_at_most_so_many_of_each_class(tmp_path: Path) -> None:
    for number in range(6):
        touch(tmp_path, f"animals/cat/{number}.jpg", f"animals/dog/{number}.jpg")
    found = scan(tmp_path, nested=True, max_samples=2)
    assert sorted(labels(found).values()) == ["animals/cat"] * 2 + ["animals/dog"] * 2


def test_by_the_classes_of_a_model(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "animals/dog/old/a.jpg",
        "animals/dog/b.jpg",
        "animals/Cat/c.jpg",
        "animals/fox/d.jpg",
        "animals/e.jpg",
        "car/red/f.jpg",
    )
    found = scan(tmp_path, tree=ClassTree(["animals/cat", "animals/dog", "car"]))
    assert labels(found)["animals/dog/old/a.jpg"] == "animals/dog"
    assert labels(found)["car/red/f.jpg"] == "car"
    assert labels(found)["animals/fox/d.jpg"] == "animals/fox"
    assert labels(found)["animals/Cat/c.jpg"] == "animals/Cat"  # whose case is matched later
    assert [file.name for file in found.coarse] == ["animals/e.jpg"]
