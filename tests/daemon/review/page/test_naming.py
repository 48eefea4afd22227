"""Classes are found and named by typing, and each keeps its key."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from tests.daemon.review.page.browser import TILE, until
from tests.daemon.review.page.conftest import Opener
from tests.daemon.review.page.stub import Stub, sent

if TYPE_CHECKING:
    from playwright.sync_api import Page


def _open(new_page: Opener, stub: Stub) -> Page:
    page = new_page()
    stub.open(page)
    page.wait_for_selector(TILE)
    return page


def _type(page: Page, name: str) -> str:
    """Type the name of a class; returns what the page says that Enter takes."""
    page.keyboard.press("/")
    page.keyboard.insert_text(name)
    taken = page.inner_text(".class.is-proposed")
    assert page.locator(".class.is-proposed").count() == 1
    page.keyboard.press("Enter")
    return taken


def test_enter_takes_the_class_that_is_marked_and_makes_no_second_one(new_page: Opener) -> None:
    decomposed = unicodedata.normalize("NFD", "고양이")
    stub = Stub(classes=("animals/dog", "hotdogs", decomposed, "mountains", "trees"))
    page = _open(new_page, stub)
    for typed, taken in (("dog", "animals/dog"), ("고양", decomposed), ("hot", "hotdogs"), ("g", "New class g")):
        assert taken in _type(page, typed)
    decisions = sent(stub, page, 4)
    assert [(one["to"], one["new"]) for one in decisions] == [
        ("animals/dog", False),
        (decomposed, False),
        ("hotdogs", False),
        ("g", True),
    ]


def test_a_new_class_may_be_given_again_before_it_is_there_and_goes_if_it_cannot_be(new_page: Opener) -> None:
    stub = Stub()
    page = _open(new_page, stub)
    _type(page, "kites")
    page.keyboard.press(page.inner_text(".class[data-name=kites] kbd"))
    assert [(one["to"], one["new"]) for one in sent(stub, page, 2)] == [("kites", True), ("kites", True)]
    stub.refuses = "a class cannot be called so"
    _type(page, "others/rain")
    page.wait_for_selector("#notice p")
    until(page, "document.querySelector('[data-name=\"others/rain\"]') === null")
    assert page.locator(".class[data-name=kites]").count() == 1


def test_a_class_keeps_its_key_while_it_is_away(new_page: Opener) -> None:
    stub = Stub(classes=("a", "b", "c", "d", "e"))
    page = _open(new_page, stub)

    def keys() -> dict[str, str]:
        found: dict[str, str] = page.evaluate(
            "Object.fromEntries([...document.querySelectorAll('.class[data-name]')]"
            ".map((one) => [one.dataset.name, one.querySelector('kbd').textContent]))"
        )
        return found

    assert keys() == {"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}
    # Somebody else removes a class and makes another one: the page hears of it.
    stub.classes = ("a", "bb", "c", "d", "e")
    stub.tell()
    until(page, "document.querySelector('[data-name=bb]') !== null")
    assert keys() == {"a": "1", "bb": "6", "c": "3", "d": "4", "e": "5"}
    stub.classes = ("a", "b", "bb", "c", "d", "e")
    page.reload()
    page.wait_for_selector(TILE)
    assert keys() == {"a": "1", "b": "2", "bb": "6", "c": "3", "d": "4", "e": "5"}
