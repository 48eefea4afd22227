"""Choose the form of Korean particles after names in a message: 고양이를, 강아지를, but never 고양이을(를).

A particle has two forms, one after a consonant and one after a vowel: which one follows a name depends on how the name
is read. Translations have both, as Koreans write where they cannot know: ``{name}을(를)``. This module picks the one
that fits: by the last syllable of Hangul, by the reading of a digit or a letter, and of a Latin word by how Korean
borrows such words (국립국어원, 외래어 표기법). After a name whose reading cannot be known both forms stay.

Libraries for this read only Hangul and digits, or spell out every Latin word, and are hardly maintained.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Literal

#: What a reading ends in: a vowel, ㄹ (after which 로 stays 로), or another consonant.
Ending = Literal["vowel", "ㄹ", "consonant"]

#: A particle with both forms, and each of them: after a consonant, after a vowel.
PARTICLES = {
    "을(를)": ("을", "를"),
    "이(가)": ("이", "가"),
    "은(는)": ("은", "는"),
    "과(와)": ("과", "와"),
    "와(과)": ("과", "와"),
    "(으)로": ("으로", "로"),
    "(이)라": ("이라", "라"),
}
_AFTER_FIELD = re.compile(r"(?<!\{)(\{\w[^{}]*\})(['\"]?)(" + "|".join(map(re.escape, PARTICLES)) + ")")

#: The last word, of letters of one kind, or the last character; only signs, which are not read aloud, may follow it.
_LAST = re.compile(r"([A-Za-z]+|[^\W_])[\W_]*$")
_SYLLABLES, _FINALS, _FINAL_RIEUL = 0xAC00, 28, 8
#: 영 일 이 삼 사 오 육 칠 팔 구; what ends in 0 is read 십, 백, 천, 만 or 억, each with a consonant.
_DIGITS: tuple[Ending, ...] = (
    *("consonant", "ㄹ", "vowel", "consonant", "vowel"),
    *("vowel", "consonant", "ㄹ", "ㄹ", "vowel"),
)
#: 엘 엠 엔 알; every other letter's name ends in a vowel.
_LETTERS: dict[str, Ending] = {"l": "ㄹ", "m": "consonant", "n": "consonant", "r": "ㄹ"}
#: How Latin words end in Korean, by the first pattern that matches: 파일, 폰, 섬(thumb), 캣, 블록. All others end in a
#: vowel, as do 파트 and 로그.
_WORDS: tuple[tuple[re.Pattern[str], Ending], ...] = (
    (re.compile(r"le?$"), "ㄹ"),
    (re.compile(r"([mn]e?|ng|mb)$"), "consonant"),
    (re.compile(r"(^|[^aeiou])[aeiouy](ck|[bckpt])$"), "consonant"),
)
#: Exceptions: 비트, 세트, 체크, 허브; 백, 빅, 제이펙.
_EXCEPTIONS: dict[str, Ending] = {
    **dict.fromkeys(("bit", "check", "github", "hit", "hub", "kit", "me", "set"), "vowel"),
    **dict.fromkeys(("bag", "big", "book", "cook", "jpeg"), "consonant"),
}


def with_particles(template: str, values: Mapping[str, object]) -> str:
    """Give each particle right after a field, or its closing quote, the form that fits the value of the field."""

    def fitting(match: re.Match[str]) -> str:
        field, quote, both = match.groups()
        return field + quote + particle(field.format(**values), both)

    return _AFTER_FIELD.sub(fitting, template) if "(" in template else template


def particle(text: str, both: str) -> str:
    """Return the form of one of `PARTICLES` that follows a text; both forms, as given, where that cannot be known."""
    end = ending(text)
    if end is None:
        return both
    after_consonant, after_vowel = PARTICLES[both]
    return after_vowel if end == "vowel" or (end == "ㄹ" and both == "(으)로") else after_consonant


def ending(text: str) -> Ending | None:
    """Return what a text ends in when it is read aloud; None where that cannot be known.

    Quotes, brackets, slashes and other signs at its end do not count.
    """
    text = unicodedata.normalize("NFC", text[-64:])  # a Mac writes the letters of a syllable one by one
    if text.rstrip().endswith(("%", "％")):
        return "vowel"  # 퍼센트
    match = _LAST.search(text)
    if match is None:
        return None
    word = match[1]
    if "가" <= word <= "힣":
        final = (ord(word) - _SYLLABLES) % _FINALS
        return "vowel" if final == 0 else "ㄹ" if final == _FINAL_RIEUL else "consonant"
    if word.isdecimal():
        return _DIGITS[int(word)]
    return _latin(word) if word.isascii() else None


def _latin(word: str) -> Ending | None:
    """Return how a Latin word ends in Korean.

    A word without a vowel, such as jpg, is spelled out. One in capitals may be either; None if the endings differ.
    """
    small = word.lower()
    by_letter = _LETTERS.get(small[-1], "vowel")
    if len(word) == 1 or not re.search("[aeiouy]", small):
        return by_letter
    rules = (end for pattern, end in _WORDS if pattern.search(small))
    by_word = _EXCEPTIONS.get(small) or next(rules, "vowel")
    return by_word if not word.isupper() or by_word == by_letter else None
