"""Labels of the data set are put right in the view of the model, by the same keys as everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.daemon.review.page.browser import TILE, shown, until
from tests.daemon.review.page.conftest import Opener
from tests.daemon.review.page.stub import ADDRESS, Stub, sent

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def stub() -> Stub:
    return Stub()


def names(page: Page) -> list[str]:
    """The names of the pictures on the board."""
    found: list[str] = page.eval_on_selector_all(
        f".group:not([hidden]) {TILE} .name", "all => all.map(t => t.textContent)"
    )
    return [name.rpartition("/")[2] for name in found]


def test_the_advice_is_accepted_another_label_given_and_both_taken_back(new_page: Opener, stub: Stub) -> None:
    page = new_page()
    stub.open(page, "#model")
    page.wait_for_selector(TILE)
    assert names(page) == [f"IMG_{1000 + number}.jpg" for number in range(4)]
    page.keyboard.press("Enter")
    page.keyboard.press("1")
    page.keyboard.press("0")
    until(page, f"document.querySelectorAll('{TILE}').length === 1")
    made = [(one["id"], one["to"]) for one in sent(stub, page, 3, "learnt")]
    assert made == [(0, stub.classes[2]), (1, stub.classes[0]), (2, None)]
    for _ in range(3):
        page.keyboard.press("Backspace")
    assert len(names(page)) == 4
    assert sent(stub, page, 0, "learnt") == []


def test_the_pictures_behind_a_mistake_are_put_right_too(new_page: Opener, stub: Stub) -> None:
    page = new_page()
    stub.open(page, "#model")
    page.wait_for_selector(".matrix")
    page.locator(".matrix .is-wrong button").first.click()
    until(page, "document.querySelector('.heading h3').textContent.startsWith('Is ')")
    until(page, f"document.querySelectorAll('{TILE}').length === 8")
    page.keyboard.press("Enter")
    assert [(one["id"], one["to"]) for one in sent(stub, page, 1, "learnt")] == [(0, stub.classes[2])]
    page.locator(".heading .link").click()
    until(page, f"document.querySelectorAll('{TILE}').length === 4")


def test_somebody_elses_label_goes_from_the_board(new_page: Opener, stub: Stub) -> None:
    page = new_page()
    stub.open(page, "#model")
    page.wait_for_selector(TILE)
    stub.decided["other"] = {"kind": "learnt", "id": 2, "version": "", "to": None}
    stub.tell()
    until(page, f"document.querySelectorAll('{TILE}').length === 3")


def test_how_much_better_the_model_is_is_said_as_soon_as_it_has_learnt(new_page: Opener, stub: Stub) -> None:
    page = new_page()
    stub.open(page)
    page.wait_for_selector(TILE)
    before = shown(page)
    stub.model = "2026-03-02_080000"
    stub.tell()
    until(page, "document.querySelector('#notice').textContent.includes('91% → 94.2%')")
    assert shown(page) == before
    page.goto(f"{ADDRESS}#model")
    until(page, "document.querySelector('.facts')?.textContent.includes('91% → 94.2%')")


def test_the_doubts_of_another_fit_take_the_place_of_those_of_the_last(new_page: Opener, stub: Stub) -> None:
    page = new_page()
    stub.open(page, "#model")
    page.wait_for_selector(TILE)
    stub.fits = 2
    stub.tell()
    until(page, f"[...document.querySelectorAll('{TILE} .name')].every(name => name.textContent.includes('IMG_2'))")
    assert names(page) == [f"IMG_{2000 + number}.jpg" for number in range(4)]
    page.keyboard.press("Enter")
    assert [one["version"][:4] for one in sent(stub, page, 1, "learnt")] == ["0002"]
