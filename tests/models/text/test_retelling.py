"""What a daemon has said in English is told in the language of who asks."""

from __future__ import annotations

from models.text import language
from models.text.retelling import retold


def _said(text: str, **values: object) -> tuple[str, str]:
    """A message in English and in Korean."""
    with language.speaking("ko"):
        korean = language.tr(text, **values)
    return language.tr(text, **values), korean


def test_messages_are_found_again_with_what_fills_them() -> None:
    why = "No such file or directory"
    cases = [
        _said("nothing is wrong"),
        _said("there is no program {program}", program="notify"),
        _said("alarms are sent to {names}", names="mail, 카톡"),
    ]
    english, korean = _said("the journal cannot be read now: {error}", error=OSError(2, why))
    assert why in english
    assert why not in korean
    with language.speaking("ko"):
        for said, expected in [*cases, (english, korean)]:
            assert retold(said) == expected


def test_what_is_no_message_stays_as_it_is() -> None:
    with language.speaking("ko"):
        for said in ("/srv/in: box/{count}", "a sentence that nobody has written", "", "{", "사진"):
            assert retold(said) == said
    assert retold("nothing is wrong") == "nothing is wrong"
