from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from models.errors import UserError
from trainer.heads.prompt_file import PromptFile, read_prompts, write_prompts
from trainer.heads.prompts import plain_prompts

CLASSES = ["강아지", "고양이", "templates"]


def read(folder: Path, text: str, name: str = "prompts.txt") -> dict[str, list[str]]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_prompts(path, CLASSES).prompts(CLASSES)


def test_without_a_file_the_names_have_to_do() -> None:
    assert PromptFile().prompts(CLASSES) == plain_prompts(CLASSES)


def test_templates_take_what_a_class_is_called(tmp_path: Path) -> None:
    text = "\ufeff# English\n\na photo of {}.\n강아지: a dog\n강아지 :a puppy\n  고양이: a cat: red\n"
    assert read(tmp_path, text) == {
        "강아지": ["a photo of a dog.", "a photo of a puppy."],
        "고양이": ["a photo of a cat: red."],
        "templates": ["a photo of templates."],
    }


def test_toml_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "prompts.TOML"
    path.write_text('templates = ["a photo of {}."]\n"강아지" = ["a dog", "a puppy"]\n"고양이" = "a cat"\n')
    assert read_prompts(path, CLASSES[:2]).prompts(CLASSES[:2]) == {
        "강아지": ["a photo of a dog.", "a photo of a puppy."],
        "고양이": ["a photo of a cat."],
    }


def test_without_templates_prompts_stand_as_they_are_and_the_rest_goes_by_name(tmp_path: Path) -> None:
    made = read(tmp_path, "강아지: a puppy on grass\n")
    assert made["강아지"] == ["a puppy on grass"]
    assert made["고양이"] == plain_prompts(["고양이"])["고양이"]


def test_names_in_pieces_are_the_same_names(tmp_path: Path) -> None:
    assert read(tmp_path, unicodedata.normalize("NFD", "강아지: 개\n"))["강아지"] == ["개"]


def test_written_prompts_give_the_same_prompts(tmp_path: Path) -> None:
    made = read(tmp_path, "a photo of {}.\n{}: close up\n강아지: a dog\n강아지: a puppy\n")
    write_prompts(tmp_path / "again.txt", made)
    assert read_prompts(tmp_path / "again.txt", CLASSES).prompts(CLASSES) == made


def test_a_class_whose_name_begins_like_a_comment_has_its_prompts(tmp_path: Path) -> None:
    made = {"#1": ["a dog", "a puppy"], "#2": ["a cat"]}
    write_prompts(tmp_path / "prompts.txt", made)
    assert read_prompts(tmp_path / "prompts.txt", list(made)).prompts(list(made)) == made


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("p.txt", "강아지: a dog\n\n강아기: a dog\n", "line 3 of .*p.txt is neither CLASS: PROMPT.*강아기"),
        ("p.txt", "강아지:\n", "line 1 of"),
        ("p.txt", "just words\n", "nor a template with {}: 'just words'"),
        ("p.toml", "강아지 = 'a dog'\n", "no TOML: .*need quotes"),
        ("p.toml", '"개" = ["a dog"]\n', "gives prompts for 개, which is none of the classes: 강아지"),
        ("p.toml", '"강아지" = []\n', "강아지 in .* must be a text or a list of texts, and not empty"),
        ("p.toml", '"강아지" = [1]\n', "must be a text"),
        ("p.toml", '"고양이" = "a {}"\n[templates]\n', "templates in .* must be a text or a list"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(name: str, text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        read(tmp_path, text, name)


def test_a_template_without_a_place_for_the_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('templates = ["a photo"]\n')
    with pytest.raises(UserError, match="'a photo' in .* has no {}"):
        read_prompts(path, ["dog", "cat"])


def test_a_file_that_is_not_there_or_no_text_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none.txt cannot be read: No such file"):
        read_prompts(tmp_path / "none.txt", CLASSES)
    (tmp_path / "p.txt").write_bytes("강아지: 개".encode("cp949"))
    with pytest.raises(UserError, match="save it as UTF-8"):
        read_prompts(tmp_path / "p.txt", CLASSES)
