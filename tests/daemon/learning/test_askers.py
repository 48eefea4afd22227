"""Those who wait for a lesson."""

from __future__ import annotations

from daemon.learning.askers import Askers
from models.text.language import in_use
from tests.daemon.learning.conftest import Asked


def test_each_is_answered_once_in_its_own_language() -> None:
    askers, english, korean = Askers(), Asked(), Asked()
    korean.language = "ko"
    for asked in (english, korean):
        askers.add(asked)
    askers.answer(lambda asker: asker.result({"language": in_use()}))
    assert (english.told, korean.told) == ({"language": "en"}, {"language": "ko"})
    assert not askers
    askers.answer(lambda asker: asker.result({"again": True}))
    assert english.told == {"language": "en"}


def test_who_waits_no_more_is_told_nothing() -> None:
    askers, asked = Askers(), Asked()
    askers.add(asked)
    asked.is_over = True
    askers.tell({"says": "at work"})
    askers.answer(lambda asker: asker.result({}))
    assert (asked.items, asked.told) == ([], None)
