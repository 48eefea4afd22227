"""Which form of a Korean particle follows a name, in sentences of the catalogue and by itself."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.text.language import tr, trn, use
from models.text.particles import PARTICLES, particle


@pytest.fixture(autouse=True)
def korean() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANGUAGE", "en")
        use("ko")
        yield
        use("en")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("고양이", "고양이를"),
        ("곰", "곰을"),
        ("딸", "딸을"),
        (unicodedata.normalize("NFD", "한글"), unicodedata.normalize("NFD", "한글") + "을"),
        ("사진 (2)", "사진 (2)를"),
        ("사진/", "사진/을"),
        ("집 “우리”", "집 “우리”를"),
        *((f"{digit}", f"{digit}{form}") for digit, form in zip("0123456789", "을을를을를를을을을를", strict=True)),
        ("20261129-101010", "20261129-101010을"),
        ("50 %", "50 %를"),
        ("a.jpg", "a.jpg를"),
        ("a.JPG", "a.JPG를"),
        ("a.png", "a.png를"),
        ("a.html", "a.html을"),
        ("checkpoint.safetensors", "checkpoint.safetensors를"),
        ("config.toml", "config.toml을"),
        ("current.json", "current.json을"),
        ("film.mp4", "film.mp4를"),
        ("a.zip", "a.zip을"),
        ("hybrid", "hybrid를"),
        ("clip", "clip을"),
        ("mobilenet", "mobilenet을"),
        ("efficientnet_lite0", "efficientnet_lite0을"),
        ("quarantine", "quarantine을"),
        ("others", "others를"),
        ("inbox/", "inbox/를"),
        ("dog", "dog를"),
        ("cat", "cat을"),
        ("apple", "apple을"),
        ("boat", "boat를"),
        ("bit", "bit를"),
        ("thumb", "thumb을"),
        ("link", "link를"),
        ("USB", "USB를"),
        ("URL", "URL을"),
        ("A", "A를"),
        ("N", "N을"),
        ("猫", "猫을(를)"),
        ("🐈", "🐈을(를)"),
        ("", "을(를)"),
        ("CAT", "CAT을(를)"),  # 캣을, or 시에이티를
    ],
)
def test_the_form_goes_by_how_a_name_is_read(name: str, said: str) -> None:
    assert name + particle(name, "을(를)") == said


@pytest.mark.parametrize(
    ("name", "road"),
    [
        ("서울", "로"),
        ("집", "으로"),
        ("바다", "로"),
        ("1", "로"),
        ("3", "으로"),
        ("URL", "로"),
        ("file", "로"),
        ("잎", "으로"),
    ],
)
def test_rieul_is_followed_by_the_short_form_of_ro_alone(name: str, road: str) -> None:
    assert particle(name, "(으)로") == road
    assert particle(name, "이(가)") == ("가" if name == "바다" else "이")


@pytest.mark.parametrize("both", PARTICLES)
def test_every_particle_has_a_form_after_a_vowel_and_one_after_a_consonant(both: str) -> None:
    forms = particle("곰", both), particle("소", both)
    assert len(set(forms)) == 2
    assert all(set(form) <= set(both) - {"(", ")"} for form in forms)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            lambda: tr("there is no weights file {given}: give an existing .safetensors file", given="가중치/소"),
            "가중치 파일 가중치/소가 없습니다. 있는 .safetensors 파일을 지정하세요",
        ),
        (
            lambda: tr("{given} is not a .safetensors file: weights in other formats are not opened", given="a.bin"),
            "a.bin은 .safetensors 파일이 아닙니다. 다른 형식의 가중치는 열지 않습니다",
        ),
        (
            lambda: tr("two backbones are registered as '{name}': remove one of them", name="clip"),
            "두 백본이 'clip'으로 등록되어 있습니다. 하나를 제거하세요",
        ),
        (
            lambda: tr("'{name}' is made of '{part}', and there is no such backbone", name="mixed", part="small"),
            "'mixed'는 'small'로 이루어지는데 그런 백본이 없습니다",
        ),
        (lambda: tr("put {file} into {folder}", file="a.pth", folder=Path("b")), "a.pth를 b에 넣거나"),
        (
            lambda: tr("there is no run {run} in {folder}: did you mean {near}?", run="곰", folder="c", near="latest"),
            "곰이라는 실행이 c에 없습니다. latest를 뜻하셨습니까?",
        ),
        (
            lambda: tr("there is no command {name}: see imagesortd help", name="소"),
            "소라는 명령은 없습니다. imagesortd help를 보세요",
        ),
    ],
)
def test_sentences_have_the_form_that_fits(said: object, expected: str) -> None:
    assert callable(said)
    assert said() == expected


def test_what_stands_in_a_name_is_left_as_it_is() -> None:
    name = "{을(를)}을(를)"
    assert name in tr("there is no weights file {given}: give an existing .safetensors file", given=name)


def test_english_has_no_particles() -> None:
    use("en")
    assert tr("{path}을(를)", path="소") == "소을(를)"
    assert trn("one", "{count}이(가)", 2) == "2이(가)"
