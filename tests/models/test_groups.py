"""The starter model's folders: a partition of the ImageNet classes, with names that are safe on any disk."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from models.groups import CLASSES, starter_groups

LANGUAGES: tuple[Literal["en", "ko"], ...] = ("en", "ko")


@pytest.fixture(scope="module")
def words() -> list[str]:
    """The first word of each ImageNet class, by index, as timm's data files have it (timm is not imported)."""
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    info = Path(spec.origin).parent / "data" / "_info"
    lemmas = dict(line.split("\t") for line in (info / "imagenet_synset_to_lemma.txt").read_text().splitlines())
    return [lemmas[synset].split(",")[0] for synset in (info / "imagenet_synsets.txt").read_text().split()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_class_has_one_group_and_every_group_a_class(language: Literal["en", "ko"]) -> None:
    names, groups = starter_groups(language)
    assert groups.shape == (CLASSES,)
    assert groups.dtype == np.int64
    assert sorted(set(groups.tolist())) == list(range(len(names)))


def test_no_group_is_a_junk_drawer() -> None:
    names, groups = starter_groups("en")
    sizes = dict(zip(names, np.bincount(groups).tolist(), strict=True))
    assert max(size for name, size in sizes.items() if name != "dog") <= 80  # ImageNet has 118 breeds of dog


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_are_safe_folder_names(language: Literal["en", "ko"]) -> None:
    names, _ = starter_groups(language)
    pattern = re.compile({"en": "[a-z]+(_[a-z]+)*", "ko": "[가-힣]+(_[가-힣]+)*"}[language])
    for name in names:
        assert pattern.fullmatch(name), name
        assert unicodedata.is_normalized("NFC", name)
    assert len({name.casefold() for name in names}) == len(names)


def test_languages_differ_in_names_only() -> None:
    english, groups = starter_groups("en")
    korean, same = starter_groups("ko")
    assert len(english) == len(korean)
    np.testing.assert_array_equal(groups, same)


@pytest.mark.parametrize(
    ("group", "members"),
    {
        "dog": ["Chihuahua", "golden retriever", "Cardigan", "Siberian husky", "Mexican hairless"],
        "cat": ["tabby", "tiger cat", "Siamese cat"],
        "small_animal": ["hamster", "guinea pig", "fox squirrel", "Angora"],
        "farm_animal": ["sorrel", "hog", "ox", "ram"],
        "wild_animal": ["red fox", "tiger", "brown bear", "Madagascar cat", "giant panda", "gazelle", "tusker"],
        "bird": ["cock", "robin", "bald eagle", "king penguin", "flamingo", "kite", "drake"],
        "fish": ["goldfish", "great white shark", "anemone fish"],
        "sea_life": ["jellyfish", "Dungeness crab", "starfish", "killer whale", "coral reef"],
        "reptile_amphibian": ["tree frog", "box turtle", "boa constrictor", "American alligator"],
        "insect": ["bee", "ant", "monarch", "tarantula", "ladybug"],
        "flower_plant": ["daisy", "rapeseed", "yellow lady's slipper", "mushroom", "hen-of-the-woods"],
        "food": ["pizza", "banana", "bell pepper", "ice cream", "plate", "hotdog"],
        "drink": ["espresso", "red wine", "beer glass"],
        "kitchen": ["frying pan", "refrigerator", "teapot"],
        "car": ["sports car", "cab", "jeep", "minivan"],
        "truck_bus": ["trailer truck", "school bus", "fire engine", "tractor", "pickup"],
        "bicycle_motorcycle": ["mountain bike", "moped"],
        "train": ["steam locomotive", "bullet train", "electric locomotive"],
        "aircraft": ["airliner", "warplane"],
        "boat": ["canoe", "container ship", "yawl"],
        "building": ["church", "castle", "mosque", "suspension bridge"],
        "street_shop": ["traffic light", "street sign", "streetcar", "grocery store", "restaurant"],
        "landscape": ["alp", "seashore", "valley", "cliff", "geyser", "volcano", "lakeside", "mountain tent"],
        "furniture": ["dining table", "rocking chair", "studio couch"],
        "household": ["bathtub", "washer", "candle", "vase"],
        "electronics": ["laptop", "cellular telephone", "television"],
        "tool": ["hammer", "power drill", "stethoscope"],
        "document": ["menu", "web site", "comic book", "crossword puzzle", "envelope"],
        "people_fashion": ["cardigan", "jean", "kimono", "suit", "groom", "running shoe"],
        "sports": ["soccer ball", "ski", "ballplayer"],
        "music": ["acoustic guitar", "violin", "grand piano"],
        "toy": ["teddy", "jigsaw puzzle", "bubble"],
        "weapon": ["revolver", "tank"],
    }.items(),
)
def test_things_are_where_one_would_look(group: str, members: list[str], words: list[str]) -> None:
    names, groups = starter_groups("en")
    assert {member: names[groups[words.index(member)]] for member in members} == dict.fromkeys(members, group)


def test_the_two_cranes_are_apart(words: list[str]) -> None:
    names, groups = starter_groups("en")
    found = [names[groups[index]] for index, word in enumerate(words) if word == "crane"]
    assert found == ["bird", "truck_bus"]


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ('["0-999", 5]', r"class 5 is in \[a\] and in \[a\]"),
        ('["0-998"]', "in no group: 999"),
        ('["0-999", 1000]', r"\[a\] has class 1000"),
        ('["0-"]', "neither a class index nor a range"),
        ('["all"]', "neither a class index nor a range"),
        ("[-1]", "neither a class index nor a range"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, classes: str, sentence: str) -> None:
    file = tmp_path / "groups.toml"
    file.write_text(f'[a]\nen = "a"\nko = "가"\nclasses = {classes}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=sentence):
        starter_groups("en", file)
