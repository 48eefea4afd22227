"""Groups come while the pile is being looked at, and nothing moves under the eye of whoever works already."""

from __future__ import annotations

from itertools import takewhile

from tests.daemon.review.page.browser import TILE, current, shown, until
from tests.daemon.review.page.conftest import Opener
from tests.daemon.review.page.stub import KINDS, Stub, sent

SECTIONS = "document.querySelectorAll('.group:not([hidden])').length"


def test_groups_come_behind_the_pictures_that_are_shown(new_page: Opener) -> None:
    page, stub = new_page(), Stub(count=200, ungrouped=200, drawn=2)
    stub.open(page)
    page.wait_for_selector(TILE)
    until(page, "document.querySelector('.head').textContent.includes('200 images are still being looked at')")
    assert page.inner_text(".group-head h3") == "Newest first"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    before, at = shown(page), current(page)
    stub.ungrouped = 0
    stub.tell()
    until(page, f"{SECTIONS} === {len(KINDS) + 1}")
    after = shown(page)
    kept = list(takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    assert (current(page), len(kept) >= 5) == (at, True)
    assert len(after) == len(set(after))
    assert not page.inner_text(".head").endswith("grouped")
    page.keyboard.press("Enter")
    assert [one["id"] for one in sent(stub, page, 2)] == [1, at]


def test_a_large_window_is_filled(new_page: Opener) -> None:
    page, stub = new_page(2560), Stub(count=200, ungrouped=200, drawn=2)
    stub.open(page)
    page.wait_for_selector(TILE)
    until(page, "document.querySelector('.board-end').getBoundingClientRect().top > innerHeight")


def test_why_nothing_is_grouped_is_said(new_page: Opener) -> None:
    page, stub = new_page(), Stub(ungrouped=40, drawn=2, trouble="the images cannot be grouped: there is no model")
    stub.open(page)
    until(page, "document.querySelector('.head')?.textContent.includes('there is no model')")
    until(page, f"document.querySelectorAll('{TILE}').length === 40")
