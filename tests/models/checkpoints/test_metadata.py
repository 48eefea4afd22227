"""The metadata of checkpoints: versioned, strict, and with class names that are safe as folders anywhere."""

from __future__ import annotations

import hashlib
import json
import math
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from models.checkpoints.checkpoint import read, write
from models.checkpoints.metadata import DEFAULT_THRESHOLD, Level, Metadata, PartRecord, Promise, Unknown
from models.deciding.class_names import check_class_name, check_class_path
from models.errors import CheckpointError
from tests.models.small_checkpoints import join, record, refusal, small_checkpoint, split, with_metadata

PROMISE = {"max_error": 0.05, "certainty": 0.95, "threshold": 0.5, "coverage": 0.9}
UNKNOWN = {"limit": 1.0, "refused": 0.02}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.safetensors"


def test_metadata_is_the_same_after_json() -> None:
    metadata = small_checkpoint().metadata
    assert Metadata.model_validate_json(metadata.model_dump_json()) == metadata


@pytest.mark.parametrize("version", [0, 6, 99, "one", None, [1], {}])
def test_another_version_says_which_and_what_to_do(path: Path, good: bytes, version: object) -> None:
    sentence = refusal(path, with_metadata(good, schema_version=version))
    assert f"its format version is {version} and this program reads up to 5" in sentence
    assert "update the program, or fit again" in sentence


def test_version_1_is_still_read(path: Path) -> None:
    """It had no promises and could not tell unknown images."""
    write(small_checkpoint(unknown=None, max_error=None, promises=[]), path)
    header, body = split(path.read_bytes())
    old = json.loads(header["__metadata__"]["imagesortd"])
    for key in ("unknown", "max_error", "promises"):
        del old[key]
    header["__metadata__"]["imagesortd"] = json.dumps(old | {"schema_version": 1})
    data = join(header, body)
    path.write_bytes(data)
    back = read(path)
    assert back.metadata == small_checkpoint(unknown=None, max_error=None, promises=[]).metadata
    assert back.head.basis is None
    assert back.digest == hashlib.sha256(data).hexdigest()


def test_version_2_is_still_read(path: Path, good: bytes) -> None:
    """All its promises had a certainty, and it had no threshold where what was asked for could not be promised."""
    path.write_bytes(with_metadata(good, schema_version=2, threshold=None, max_error=0.01))
    metadata = read(path).metadata
    assert metadata.kept_promise == metadata.promises[0]
    assert metadata.served_threshold == metadata.promises[0].threshold


@pytest.mark.parametrize(
    ("changes", "threshold", "kept"),
    [
        ({"threshold": None, "max_error": None}, DEFAULT_THRESHOLD, None),
        ({"threshold": 0.3, "max_error": None}, 0.3, None),
        ({"threshold": 0.25, "max_error": 0.02}, 0.25, 0),  # as asked for
        ({"threshold": 0.125, "max_error": 0.03}, 0.125, 1),  # the next
        ({"threshold": 0.97, "max_error": 0.03}, 0.97, None),  # the surest only
        ({"threshold": None, "max_error": 0.03}, 0.125, 1),
        ({"threshold": None, "max_error": 0.2}, 0.8, None),
        ({"threshold": None, "max_error": 0.7}, 0.5, None),
        ({"threshold": None, "max_error": 0.01, "promises": []}, 0.99, None),
    ],
)
def test_the_served_threshold_is_never_the_laxest_where_something_was_asked_for(
    changes: dict[str, object], threshold: float, kept: int | None
) -> None:
    metadata = small_checkpoint(**changes).metadata
    assert metadata.served_threshold == threshold
    assert metadata.kept_promise == (None if kept is None else metadata.promises[kept])


def test_version_2_tells_unknown_images_by_their_distance_alone(path: Path) -> None:
    write(small_checkpoint(), path)
    header, body = split(path.read_bytes())
    old = json.loads(header["__metadata__"]["imagesortd"])
    for key in ("energy_weight", "usual_energy"):
        del old["unknown"][key]
    header["__metadata__"]["imagesortd"] = json.dumps(old | {"schema_version": 2})
    path.write_bytes(join(header, body))
    back = read(path)
    assert back.metadata.unknown == Unknown(limit=3.5, refused=0.01, energy_weight=0.0)
    assert back.metadata == small_checkpoint().metadata


@pytest.mark.parametrize(
    ("threshold", "typed"),
    [(0.0, 0.0001), (0.12341, 0.1235), (0.9999, 0.9999), (0.99991, 0.99991), (0.9999912, 0.999992), (1.0, 1.0)],
)
def test_a_threshold_to_type_is_no_lower_and_files_as_much(threshold: float, typed: float) -> None:
    assert Promise(max_error=0.05, certainty=0.95, threshold=threshold, coverage=0.5).typed_threshold == typed


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"unknown": UNKNOWN | {"energy_weight": -0.1}}, "unknown.energy_weight"),
        ({"unknown": UNKNOWN | {"energy_weight": math.nan}}, "unknown.energy_weight"),
        ({"unknown": UNKNOWN | {"energy_weight": math.inf}}, "unknown.energy_weight"),
        ({"unknown": UNKNOWN | {"usual_energy": math.nan}}, "unknown.usual_energy"),
        ({"unknown": UNKNOWN | {"usual_energy": -math.inf}}, "unknown.usual_energy"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": math.nan}, "threshold"),
        ({"normalisation": "l3"}, "normalisation"),
        ({"normalisation": "pretrained"}, "the top"),  # it has two parts
        ({"max_error": 0}, "max_error"),
        ({"promises": [PROMISE | {"threshold": 1.5}]}, "promises.0.threshold"),
        ({"promises": [PROMISE | {"certainty": 1}]}, "promises.0.certainty"),
        ({"promises": [PROMISE, PROMISE]}, "promises"),
        ({"unknown": {"limit": 0, "refused": 0.01}}, "unknown.limit"),
        ({"unknown": {"limit": math.inf, "refused": 0.01}}, "unknown.limit"),
        ({"classes": []}, "classes"),
        ({"classes": "abc"}, "classes"),
        ({"parts": []}, "parts"),
        ({"parts": [1]}, "parts.0"),
        ({"metrics": {"accuracy": "high"}}, "metrics.accuracy"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_wrong_metadata_is_refused_with_its_place(
    path: Path, good: bytes, changes: dict[str, object], place: str
) -> None:
    assert f"its metadata is wrong at {place}: " in refusal(path, with_metadata(good, **changes))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '"schema_version"', "[" * 10_000])
def test_metadata_that_is_no_object_is_refused(path: Path, good: bytes, text: str) -> None:
    header, body = split(good)
    header["__metadata__"]["imagesortd"] = text
    assert "its metadata is damaged" in refusal(path, join(header, body))


@pytest.mark.parametrize("name", ["", "a:b", "a b", "x" * 129, "a\n", "a\0", "\x1b[2J", "..\\a"])
def test_a_parts_name_is_plain(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        PartRecord.model_validate(record("one", 4).model_dump() | {"name": name})


def test_a_part_is_there_once() -> None:
    with pytest.raises(ValidationError, match="a part is named twice"):
        small_checkpoint(parts=[record("one", 4), record("one", 2)])


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "../up",
        "a/b",
        "/a",
        "a\\b",
        "nul",
        "con",
        "CON",
        "Con.txt",
        "con .txt",
        "com1",
        "LPT9",
        "a\0b",
        "a\nb",
        "\x1b[2J",
        "a\x7f",
        "a\x85b",
        "a\u2028b",
        " a",
        "a ",
        "\u3000a",
        "a.",
        ".a",
        "a:b",
        "what?",
        "*",
        "<a>",
        'a"b',
        "a|b",
        "\ud800",
        "é" * 128,
        "x" * 256,
    ],
)
def test_unsafe_class_names_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be a folder's name"):
        check_class_name(name)


@pytest.mark.parametrize("name", ["", "..", "../up", "/a", "a//b", "a/", "a/../b", "a/./b", "a/nul", "a\\b/c", "a/ b"])
def test_unsafe_classes_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be a folder's name"):
        small_checkpoint(classes=["cat", "dog", name])


@pytest.mark.parametrize("name", ["/".join("abcdefghi"), "/".join(["가" * 80] * 3)])
def test_a_class_may_not_lie_too_deep(name: str) -> None:
    with pytest.raises(CheckpointError, match="lies too deep: at most 8 folders and 700 bytes"):
        check_class_path(name)


def test_classes_may_be_paths_whose_names_are_composed() -> None:
    apart = unicodedata.normalize("NFD", "동물/고양이")
    assert check_class_path(apart) == "동물/고양이"
    assert check_class_path("/".join("abcdefgh")) == "a/b/c/d/e/f/g/h"


def test_a_class_name_in_another_encoding_is_said_to_be_so() -> None:
    with pytest.raises(CheckpointError, match="cannot be a folder's name: it is not in UTF-8"):
        check_class_name(os.fsdecode("고양이".encode("cp949")))


@pytest.mark.parametrize(
    "name",
    [
        "cat",
        "고양이",
        "sea life",
        "café",
        "a.b",
        "-x",
        "x" * 255,
        "가" * 85,
        "console",
        "com10",
        "👨\u200d👩\u200d👧",
        "~",
    ],
)
def test_safe_class_names_are_kept(name: str) -> None:
    assert check_class_name(name) == name


def test_class_names_are_composed(path: Path, good: bytes) -> None:
    apart = unicodedata.normalize("NFD", "고양이")
    assert apart != "고양이"
    assert check_class_name(apart) == "고양이"
    sentence = refusal(path, with_metadata(good, classes=["cat", "dog", apart]))
    assert "its metadata is wrong at classes: " in sentence
    assert "NFC" in sentence


@pytest.mark.parametrize(("one", "other"), [("cat", "cat"), ("Cat", "cAT"), ("Straße", "STRASSE"), ("Ä", "ä")])
def test_names_that_differ_in_case_only_are_one_folder(path: Path, good: bytes, one: str, other: str) -> None:
    assert "are one folder" in refusal(path, with_metadata(good, classes=[one, "dog", other]))


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("Animals/dog", "animals/cat", "the class names 'Animals' and 'animals' are one folder"),
        ("animals/dog", "animals/Dog", "'animals/dog' and 'animals/Dog' are one folder"),
        ("animals/dog", "Animals", "'animals' and 'Animals' are one folder"),
        ("animals/dog", "animals", "the class 'animals/dog' lies in the folder of the class 'animals'"),
        ("animals", "animals/big/dog", "the class 'animals/big/dog' lies in the folder of the class 'animals'"),
    ],
)
def test_no_two_classes_share_a_folder(path: Path, good: bytes, one: str, other: str, said: str) -> None:
    assert said in refusal(path, with_metadata(good, classes=[one, "dog", other]))


NESTED = ["animals/cat", "animals/dog", "car"]
PROMISED = Promise(max_error=0.02, certainty=0.95, threshold=0.75, coverage=0.1)


@pytest.mark.parametrize(
    ("changes", "levels"),
    [
        ({"levels": [Level(depth=1, threshold=0.75, promise=PROMISED)]}, {1: 0.75}),
        ({"levels": [Level(depth=1)]}, {}),  # nothing could be promised
        ({}, {}),
        ({"max_error": None, "threshold": 0.6}, {1: 0.6}),
        ({"max_error": None, "threshold": None}, {1: DEFAULT_THRESHOLD}),
        ({"max_error": None, "threshold": None, "classes": ["cat", "dog", "car"]}, {}),
    ],
)
def test_the_thresholds_of_inner_folders(path: Path, changes: dict[str, Any], levels: dict[int, float]) -> None:
    write(small_checkpoint(**({"classes": NESTED} | changes)), path)
    assert read(path).metadata.served_levels == levels


@pytest.mark.parametrize("depths", [[2], [1, 1], [0], [8]])
def test_a_level_has_a_depth_of_its_own_with_inner_folders(path: Path, good: bytes, depths: list[int]) -> None:
    levels = [{"depth": depth, "threshold": 0.5, "promise": None} for depth in depths]
    assert "its metadata is wrong at" in refusal(path, with_metadata(good, classes=NESTED, levels=levels))


def test_version_4_is_still_read(path: Path) -> None:
    """It had no classes in folders of classes."""
    write(small_checkpoint(), path)
    header, body = split(path.read_bytes())
    old = json.loads(header["__metadata__"]["imagesortd"])
    del old["levels"]
    header["__metadata__"]["imagesortd"] = json.dumps(old | {"schema_version": 4})
    path.write_bytes(join(header, body))
    assert read(path).metadata == small_checkpoint().metadata
