"""Which class a path in the output has: one rule, for models with and without classes that lie in folders."""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.filing.class_paths import ClassPaths, is_in_folder_of

OUTPUT = Path("/sorted")
NESTED = ("animals/dog", "animals/cat", "동물/새/참새", "동물/새/까치", "car")


def paths(*classes: str) -> ClassPaths:
    return ClassPaths(OUTPUT, lambda: classes)


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("animals/dog", "animals/dog"),
        ("animals/dog/2024/05", "animals/dog"),
        ("animals", "animals"),
        ("animals/fox", "animals/fox"),
        ("animals/fox/red", "animals/fox"),
        ("동물/새", "동물/새"),
        ("동물/새/참새/여름", "동물/새/참새"),
        (normalize("NFD", "동물/새/제비/여름"), "동물/새/제비"),
        ("동물/고양이/새끼", "동물/고양이"),
        ("car/old", "car"),
        ("plants/tree", "plants"),
        ("others", "others"),
    ],
)
def test_below_an_inner_folder_each_folder_is_a_class(folder: str, label: str) -> None:
    nested = paths(*NESTED)
    assert nested.class_of(folder) == label
    assert nested.of_folder(OUTPUT / folder) == label
    assert nested.of_image(OUTPUT / folder / "animals") == label
    place = nested.folder_of(folder)
    assert normalize("NFC", place) == label
    assert folder == place or folder.startswith(f"{place}/"), "as it is spelled there"


@pytest.mark.parametrize(
    ("folder", "label", "place"),
    [
        ("CAR/old", "car", "CAR"),
        ("Animals/Dog/2024", "animals/dog", "Animals/Dog"),
        ("Animals/Fox/red", "animals/Fox", "Animals/Fox"),
        ("Plants", "Plants", "Plants"),
    ],
)
def test_of_two_spellings_in_capitals_and_not_the_models_counts(folder: str, label: str, place: str) -> None:
    """On many drives they are one folder, and no model has both."""
    nested = paths(*NESTED)
    assert (nested.class_of(folder), nested.folder_of(folder)) == (label, place)
    assert is_in_folder_of(label, OUTPUT / folder, [OUTPUT])
    assert paths().class_of("Dog") == "Dog"


def test_without_such_classes_the_first_folder_says_it() -> None:
    for flat in (paths("dog", "animals"), paths()):
        assert flat.class_of("animals/dog/x") == "animals"
        assert flat.class_of(normalize("NFD", "고양이")) == "고양이"


def test_what_lies_elsewhere_is_of_no_class() -> None:
    for path in (OUTPUT / "a.jpg", Path("/inbox/a.jpg"), Path("/sorted-too/dog/a.jpg")):
        assert paths(*NESTED).of_image(path) is None


_NAMES = st.sampled_from(["a", "b", "가", normalize("NFD", "가"), "c"])
_FOLDERS = st.lists(_NAMES, min_size=1, max_size=5).map("/".join)


@given(classes=st.lists(_FOLDERS, max_size=6), folder=_FOLDERS, below=_FOLDERS)
def test_every_folder_has_one_class_which_what_lies_deeper_shares(classes: list[str], folder: str, below: str) -> None:
    classes = [normalize("NFC", name) for name in classes]
    # No class lies in another, as in every checkpoint.
    classes = [name for name in classes if not any(name.startswith(f"{other}/") for other in classes)]
    known = paths(*classes)
    label = known.class_of(folder)
    assert f"{normalize('NFC', folder)}/".startswith(f"{label}/")
    assert known.class_of(label) == label
    if label not in known.inner:
        assert known.class_of(f"{folder}/{below}") == label
    for name in classes:
        assert known.class_of(f"{name}/{below}") == name
        assert is_in_folder_of(name, OUTPUT / name / below, [OUTPUT])
