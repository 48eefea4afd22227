"""What is taken back comes back, wherever the reader is by then; and no decision is lost with a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.daemon.review.page.browser import TILE, current, shown, until
from tests.daemon.review.page.stub import ADDRESS, CLASSES, Stub, sent

if TYPE_CHECKING:
    from playwright.sync_api import Page


def turn_to(page: Page, view: str) -> None:
    """Go to a view, which is made anew."""
    page.evaluate(f"location.hash = '{view}'")
    until(page, f"document.body.dataset.view === '{view}' && document.querySelector('.view {TILE}') !== null")


def test_an_image_comes_back_in_a_view_that_was_made_anew(page: Page, stub: Stub) -> None:
    before = shown(page)
    page.keyboard.press("1")
    page.keyboard.press("2")
    sent(stub, page, 2)
    turn_to(page, "classes")
    page.keyboard.press("Backspace")
    sent(stub, page, 1)
    turn_to(page, "unsure")
    until(page, f"document.querySelectorAll('{TILE}').length === {len(before) - 1}")
    assert before[1] in shown(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Backspace")
    assert current(page) == before[0]
    assert sorted(shown(page)) == sorted(before)
    sent(stub, page, 0)


def test_what_cannot_be_taken_back_goes_again_and_the_reason_is_said(page: Page, stub: Stub) -> None:
    before = shown(page)
    page.keyboard.press("1")
    sent(stub, page, 1)
    stub.refuses_back = "the image was moved since"
    page.keyboard.press("Backspace")
    page.wait_for_selector("#notice p")
    assert page.inner_text("#notice p") == "The image was moved since"
    assert shown(page) == before[1:]
    assert page.inner_text(".tools").startswith(f"{len(before) - 1} images")


def test_a_label_of_the_data_set_is_taken_back_after_its_board_has_changed(page: Page, stub: Stub) -> None:
    page.goto(f"{ADDRESS}#model")
    page.wait_for_selector(f".view[class] {TILE} img[src*='/learnt/']")
    page.keyboard.press("Enter")
    sent(stub, page, 1, "learnt")
    page.locator(".matrix td.is-wrong button").first.click()
    until(page, f"document.querySelectorAll('{TILE}').length === 8")
    page.keyboard.press("Backspace")
    sent(stub, page, 0, "learnt")
    assert page.locator(TILE).count() == 8


def test_what_a_restarted_server_has_lost_is_sent_again_in_its_order(page: Page, stub: Stub) -> None:
    before = shown(page)
    stub.loses = 1
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("1")
    assert [(one["id"], one["to"]) for one in sent(stub, page, 2)] == [(one, CLASSES[0]) for one in before[:2]]
    until(page, "document.querySelector('#state').textContent === ''")
    assert shown(page) == before[2:]


def test_what_waits_for_the_daemon_outlives_a_reload_of_the_page(page: Page, stub: Stub) -> None:
    stub.loses = 1
    stub.refuses_late = "not yet"
    page.route("**/api/changes*", lambda _: None)  # the page hears of nothing meanwhile
    page.keyboard.press("1")
    until(page, "JSON.parse(sessionStorage['imagesortd decisions ']).length === 1")
    until(page, "performance.getEntriesByType('resource').some((one) => one.name.endsWith('/api/decisions'))")
    stub.refuses_late = None
    page.unroute("**/api/changes*")
    page.reload()
    assert [one["to"] for one in sent(stub, page, 1)] == [CLASSES[0]]
