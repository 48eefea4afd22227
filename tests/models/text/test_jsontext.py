"""JSON for people and programs: letters as they are, and valid whatever a name holds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from models.text.jsontext import json_text

TEXT = "고양이 🐈 café"


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        (None, '{"a": "고양이 🐈 café"}'),
        ("utf-8", '{"a": "고양이 🐈 café"}'),
        ("cp949", '{"a": "고양이 \\ud83d\\udc08 caf\\u00e9"}'),
        ("latin-1", '{"a": "\\uace0\\uc591\\uc774 \\ud83d\\udc08 café"}'),
        ("ascii", '{"a": "\\uace0\\uc591\\uc774 \\ud83d\\udc08 caf\\u00e9"}'),
    ],
)
def test_letters_are_as_they_are_where_the_stream_has_them(encoding: str | None, expected: str) -> None:
    text = json_text({"a": TEXT}, encoding=encoding)
    assert text == expected
    assert json.loads(text.encode(encoding or "utf-8").decode(encoding or "utf-8")) == {"a": TEXT}


@pytest.mark.parametrize(
    "name", [b"caf\xe9.jpg", b"\xff\xfe\n.jpg", "한\u2028\u0085\x7f\x9b\u202e.jpg".encode(), b"a\x00b"]
)
@pytest.mark.parametrize("indent", [None, 1])
def test_any_name_is_valid_json_and_comes_back_as_it_was(name: bytes, indent: int | None) -> None:
    path = {"file": os.fsdecode(name), "class": "개"}
    text = json_text(path, indent=indent)
    assert json.loads(text.encode("utf-8")) == path
    assert "개" in text
    assert all(line.isprintable() for line in text.split("\n"))
    if indent is None:
        assert text.splitlines() == [text]


def test_a_lone_surrogate_reads_back_as_the_bytes_of_the_name() -> None:
    name = json.loads(json_text(os.fsdecode(b"caf\xe9")))
    assert os.fsencode(Path(name)) == b"caf\xe9"
