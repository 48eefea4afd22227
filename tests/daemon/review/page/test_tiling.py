"""Of many pictures only those near the window are in the document, and nobody at the keys notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.daemon.review.page.browser import TILE, current, shown, until
from tests.daemon.review.page.conftest import HEIGHT, Opener
from tests.daemon.review.page.stub import CLASSES, Stub, sent

if TYPE_CHECKING:
    from playwright.sync_api import Page

COUNT = 200
CURRENT = f"document.querySelector('{TILE}[tabindex=\"0\"]')"
#: Whether the current picture is in sight, below the header, and has the focus.
IS_SEEN = f"""
(() => {{
  const {{ top, bottom, height }} = {CURRENT}.getBoundingClientRect();
  return document.activeElement === {CURRENT} && height > 100 && top > 0 && bottom < innerHeight;
}})()
"""
#: The first picture is in the document wherever the window is, while it is the current one.
IS_SECOND_DRAWN = f"document.querySelectorAll('{TILE}')[1].ariaPosInSet === '2'"
#: The place of the picture that is in the middle of the window.
IN_THE_MIDDLE = f"""
Number([...document.querySelectorAll('{TILE}')].findLast(
  (tile) => tile.getBoundingClientRect().top < innerHeight / 2).ariaPosInSet)
"""
#: For each tile its place in the row and the row, by where it lies and by what it says of itself.
PLACES = f"""
() => {{
  const tiles = [...document.querySelectorAll('{TILE}')];
  const left = [...new Set(tiles.map((tile) => tile.offsetLeft))].sort((a, b) => a - b);
  const down = tiles[0].offsetHeight + parseFloat(getComputedStyle(tiles[0].parentElement).rowGap);
  return tiles.map((tile) => [
    Math.round(tile.offsetTop / down) * left.length + left.indexOf(tile.offsetLeft) + 1,
    Number(tile.getAttribute("aria-posinset")),
  ]);
}}
"""


@pytest.fixture
def stub() -> Stub:
    return Stub(count=COUNT, ungrouped=COUNT, drawn=2)


@pytest.fixture
def page(new_page: Opener, stub: Stub) -> Page:
    """A page that has been given all pictures, and whose last one is the current one."""
    page = new_page()
    stub.open(page)
    page.wait_for_selector(TILE)
    while page.get_attribute(f'{TILE}[tabindex="0"]', "aria-posinset") != str(COUNT):
        page.keyboard.press("End")
        page.wait_for_timeout(10)
    return page


def test_only_what_is_near_the_window_is_in_the_document_and_says_which_of_how_many_it_is(page: Page) -> None:
    until(page, IS_SEEN)
    until(page, f"document.querySelectorAll('{TILE}').length < {COUNT // 2}")
    assert {tile.get_attribute("aria-setsize") for tile in page.query_selector_all(TILE)} == {str(COUNT)}
    for width in (1280, 700):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        until(page, f"({PLACES})().every(([lies, says]) => lies === says)")
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight / 2)")
        until(page, f"Math.abs({IN_THE_MIDDLE} - {COUNT} / 2) < {COUNT} / 10")
        until(page, f"({PLACES})().every(([lies, says]) => lies === says)")
    page.set_viewport_size({"width": 1280, "height": HEIGHT})


def test_keys_act_upon_the_current_picture_however_far_it_is_from_the_window(page: Page, stub: Stub) -> None:
    last = current(page)
    page.evaluate("scrollTo(0, 0)")
    until(page, f"document.querySelector('{TILE}').ariaPosInSet === '1'")
    assert current(page) == last
    assert not page.evaluate(IS_SEEN)
    page.keyboard.press("1")
    assert [(one["id"], one["to"]) for one in sent(stub, page, 1)] == [(last, CLASSES[0])]
    until(page, IS_SEEN)
    assert current(page) == last - 1


def test_what_is_taken_back_comes_into_sight_again_where_it_was(page: Page, stub: Stub) -> None:
    page.keyboard.press("Home")
    until(page, IS_SECOND_DRAWN)
    before = shown(page)
    page.keyboard.press("1")
    page.keyboard.press("End")
    page.keyboard.press("Backspace")
    until(page, IS_SEEN)
    until(page, IS_SECOND_DRAWN)
    assert current(page) == before[0]
    assert shown(page)[:10] == before[:10]  # how many are drawn depends on where the window is by now
    sent(stub, page, 0)


def test_a_range_and_all_reach_beyond_what_is_in_the_document(page: Page, stub: Stub) -> None:
    page.keyboard.press("Shift+Home")
    assert page.inner_text("#chosen") == f"{COUNT} images selected"
    assert {tile.get_attribute("aria-selected") for tile in page.query_selector_all(TILE)} == {"true"}
    page.keyboard.press("Escape")
    page.keyboard.press("Control+a")
    page.keyboard.press("2")
    assert [one["id"] for one in sent(stub, page, COUNT)] == list(range(COUNT))
    assert page.locator(TILE).count() == 0
    page.keyboard.press("Backspace")
    assert (current(page), shown(page)[:3]) == (0, [0, 1, 2])
    sent(stub, page, 0)
