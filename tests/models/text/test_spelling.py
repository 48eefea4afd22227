"""Names near to a misspelled one."""

from __future__ import annotations

import pytest

from models.text.spelling import nearest


@pytest.mark.parametrize(("given", "near"), [("버", ["벌"]), ("Dgo", ["dog"]), ("영수중", ["영수증"]), ("나비", [])])
def test_a_syllable_of_hangul_counts_as_its_letters(given: str, near: list[str]) -> None:
    assert nearest(given, ["벌", "개미", "dog", "영수증"]) == near
