from __future__ import annotations

from trainer.tables import columns, padded, table


def test_hangul_takes_two_columns_and_a_combining_mark_none() -> None:
    assert [columns(text) for text in ("cat", "고양이", "e\u0301", "鳥a", "")] == [3, 6, 1, 3, 0]
    assert columns("고양이") == columns("\u1100\u1169\u110b\u1163\u11bc\u110b\u1175")  # the same, decomposed


def test_columns_are_straight_in_any_script() -> None:
    lines = table([["class", "images"], ["고양이", "7"], ["a", "1234"]]).splitlines()
    assert lines == ["class   images", "고양이       7", "a         1234"]
    assert len({columns(line) for line in lines}) == 1


def test_padding_goes_to_either_side() -> None:
    assert (padded("숲", 4), padded("숲", 4, right=True), padded("숲", 1)) == ("숲  ", "  숲", "숲")
