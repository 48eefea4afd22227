from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.files.names import free_number, numbered

FILE_NAMES = st.binary(min_size=1, max_size=255).filter(lambda raw: not {0, 47} & set(raw)).map(os.fsdecode)


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("cat.jpg", "cat_2.jpg"),
        ("cat", "cat_2"),
        (".hidden", ".hidden_2"),
        ("a.b.jpeg", "a.b_2.jpeg"),
        ("-rf.jpg", "-rf_2.jpg"),
        ("new\nline.jpg", "new\nline_2.jpg"),
        (
            "sentence. With a very long end that is no extension",
            "sentence. With a very long end that is no extension_2",
        ),
        ("\udcff\udcfe.jpg", "\udcff\udcfe_2.jpg"),
    ],
)
def test_the_number_stands_before_the_extension(name: str, second: str) -> None:
    assert numbered(name, 1) == name
    assert numbered(name, 2) == second


@given(FILE_NAMES, st.integers(2, 10**6))
def test_every_choice_is_a_name_the_file_system_takes(name: str, number: int) -> None:
    choice = os.fsencode(numbered(name, number))
    assert 0 < len(choice) <= 255
    assert b"/" not in choice
    assert b"\0" not in choice
    assert choice not in (b".", b"..")


@given(FILE_NAMES)
def test_the_choices_differ(name: str) -> None:
    choices = [numbered(name, number) for number in range(1, 12)]
    assert len(set(choices)) == len(choices)


@pytest.mark.parametrize(
    "letter", ["a", "é", "한", "😀", unicodedata.normalize("NFD", "한"), unicodedata.normalize("NFD", "é")]
)
def test_a_long_name_is_shortened_between_characters_and_keeps_its_extension(letter: str) -> None:
    raw = letter.encode()
    for spare in range(len(raw)):
        stem = "x" * spare + letter * ((251 - spare) // len(raw))
        choice = numbered(stem + ".jpg", 10)
        assert choice.endswith("_10.jpg")
        kept = choice.removesuffix("_10.jpg")
        assert stem.startswith(kept)
        assert (len(kept) - spare) % len(letter) == 0, "cut inside a character"
        assert 255 - len(raw) < len(choice.encode()) <= 255


def test_bytes_that_are_no_text_are_shortened_too() -> None:
    name = os.fsdecode(b"\x80\xff" * 125 + b".jpg")
    assert os.fsencode(numbered(name, 2)) == (b"\x80\xff" * 125)[:249] + b"_2.jpg"


def test_a_file_system_with_short_names_gets_short_names() -> None:
    assert numbered("a" * 200 + ".jpg", 1, limit=143) == "a" * 139 + ".jpg"


@given(st.integers(0, 10**6))
def test_the_first_free_number_is_found_in_few_tries(count: int) -> None:
    tries = []

    def taken(number: int) -> bool:
        tries.append(number)
        return number <= count

    assert free_number(taken) == count + 1
    assert len(tries) <= 42


@given(st.sets(st.integers(1, 200)))
def test_among_gaps_some_free_number_is_found(numbers: set[int]) -> None:
    assert free_number(numbers.__contains__) not in numbers
