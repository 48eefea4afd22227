"""The page by keys alone, before a server whose answers are made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.daemon.review.page.browser import TILE, current, shown, until
from tests.daemon.review.page.stub import CLASSES, Stub, sent

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_enter_a_class_key_and_none_decide_and_the_next_takes_the_place(page: Page, stub: Stub) -> None:
    before = shown(page)
    page.keyboard.press("Enter")
    page.keyboard.press("2")
    page.keyboard.press("0")
    assert shown(page) == before[3:]
    assert current(page) == before[3]
    assert [(d["id"], d["to"]) for d in sent(stub, page, 3)] == [
        (before[0], CLASSES[before[0] % 5]),
        (before[1], CLASSES[1]),
        (before[2], None),
    ]


def test_the_keys_mean_the_same_in_the_large_view(page: Page, stub: Stub) -> None:
    before = shown(page)
    page.keyboard.press("Space")
    image = page.locator(".large-frame img")
    for number in before[:3]:
        assert f"/thumbnails/{number}/1024" in (image.get_attribute("src") or "")
        page.keyboard.press("3")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("4")
    page.keyboard.press("Escape")
    assert page.locator(".board").is_visible()
    decisions = sent(stub, page, 4)
    assert [(d["id"], d["to"]) for d in decisions] == [
        *((number, CLASSES[2]) for number in before[:3]),
        (before[4], CLASSES[3]),
    ]


def test_undo_takes_back_the_last_and_the_one_before_it(page: Page, stub: Stub) -> None:
    before = shown(page)
    page.keyboard.press("1")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("2")
    page.keyboard.press("Backspace")
    assert current(page) == before[2]
    page.keyboard.press("Control+z")
    assert shown(page) == before
    assert current(page) == before[0]
    sent(stub, page, 0)
    assert len(stub.decided) == 4


def test_a_click_with_shift_chooses_all_from_the_current_one_on(page: Page) -> None:
    page.locator(TILE).nth(1).click()
    page.locator(TILE).nth(4).click(modifiers=["Shift"])
    assert page.inner_text("#chosen") == "4 images selected"


def test_a_range_and_all_are_decided_at_once(page: Page, stub: Stub) -> None:
    before = shown(page)
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert page.inner_text("#chosen") == "3 images selected"
    page.keyboard.press("1")
    assert [d["id"] for d in sent(stub, page, 3)] == before[:3]
    page.keyboard.press("Control+a")
    page.keyboard.press("2")
    sent(stub, page, len(before))
    assert page.locator(".empty").is_visible()
    page.keyboard.press("Backspace")
    assert shown(page) == before[3:]
    sent(stub, page, 3)


def test_keys_work_with_a_keyboard_that_types_hangul(page: Page, stub: Stub) -> None:
    before = shown(page)
    page.evaluate("localStorage.setItem('imagesortd keys sorted', JSON.stringify({mountains: 'a', boats: '1'}))")
    page.reload()
    page.wait_for_selector(TILE)
    hangul = "{key: 'ㅁ', code: 'KeyA', bubbles: true, cancelable: true}"
    page.evaluate(f"document.dispatchEvent(new KeyboardEvent('keydown', {hangul}))")
    (decision,) = sent(stub, page, 1)
    assert (decision["id"], decision["to"]) == (before[0], "mountains")


def test_a_class_is_found_by_its_name_and_a_group_is_named_as_a_new_one(page: Page, stub: Stub) -> None:
    page.keyboard.press("/")
    page.keyboard.type("rec")
    page.keyboard.press("Enter")
    (decision,) = sent(stub, page, 1)
    assert (decision["to"], decision["new"]) == ("receipts", False)
    group = page.locator(".group:not([hidden])").nth(1)
    count = group.locator(TILE).count()
    group.get_by_text("Another class…").focus()
    page.keyboard.press("Enter")
    until(page, "document.activeElement.matches('.field input')")
    page.keyboard.type("tickets")
    page.keyboard.press("Enter")
    decisions = sent(stub, page, 1 + count)[1:]
    assert {(d["to"], d["new"]) for d in decisions} == {("tickets", True)}
    assert page.locator(".class", has_text="tickets").count() == 1


def test_help_shows_the_keys_and_goes(page: Page) -> None:
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_brackets_turn_through_the_views(page: Page) -> None:
    for view in ("classes", "quarantine", "audit", "model", "live", "unsure"):
        page.keyboard.press("]")
        until(page, f"document.body.dataset.view === '{view}'")


def test_a_decision_waits_for_a_server_that_is_away_and_outlives_a_reload(page: Page, stub: Stub) -> None:
    stub.is_down = True
    page.keyboard.press("1")
    page.keyboard.press("2")
    until(page, "document.querySelector('#state').textContent.includes('Waiting: 2 decisions')")
    stub.is_down = False
    page.reload()
    assert [d["to"] for d in sent(stub, page, 2)] == [CLASSES[0], CLASSES[1]]
    until(page, "document.querySelector('#state').textContent === ''")


def test_a_refused_decision_brings_the_picture_back_and_says_why(page: Page, stub: Stub) -> None:
    before = shown(page)
    stub.refuses = "the image has changed: look at it again"
    page.keyboard.press("1")
    page.wait_for_selector("#notice p")
    assert page.inner_text("#notice p") == "The image has changed: look at it again"
    assert shown(page) == before
    stub.refuses = None
    page.keyboard.press("2")
    (decision,) = sent(stub, page, 1)
    assert decision["id"] == before[0]


def test_what_became_of_a_decision_is_asked_for_although_the_change_was_told_before(page: Page, stub: Stub) -> None:
    before = shown(page)
    stub.refuses_late = "the image is gone"
    page.keyboard.press("1")
    page.wait_for_selector("#notice p")
    assert page.inner_text("#notice p") == "The image is gone"
    assert shown(page) == before


def test_what_another_page_has_decided_goes(page: Page, stub: Stub) -> None:
    before = shown(page)
    stub.tell(decided=[before[1], before[2]])
    until(page, f"document.querySelectorAll('{TILE}').length === {len(before) - 2}")
    assert shown(page) == [before[0], *before[3:]]


def test_an_audit_is_answered_in_one_key_each(page: Page, stub: Stub) -> None:
    page.goto(page.url.split("#")[0] + "#audit/a1")
    page.wait_for_selector(".large-frame img")
    for key in ("Enter", "-", "0", "Enter"):
        page.keyboard.press(key)
    answers = sent(stub, page, 4, "audit")
    assert [(d["right"], d.get("to")) for d in answers] == [
        (True, None),
        (False, None),
        (False, "others"),
        (True, None),
    ]
    until(page, "document.querySelector('.summary').textContent.includes('2 of 4 wrong')")


def test_quarantined_images_are_tried_again(page: Page, stub: Stub) -> None:
    page.goto(page.url.split("#")[0] + "#quarantine")
    page.wait_for_selector(f"{TILE} .note")
    page.keyboard.press("Enter")
    page.keyboard.press("1")
    (decision,) = sent(stub, page, 1, "retry")
    assert decision["id"] == 0


def test_a_cell_of_the_matrix_shows_its_pictures(page: Page) -> None:
    page.goto(page.url.split("#")[0] + "#model")
    page.locator(".matrix td.is-wrong button").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{TILE} img[src*='/learnt/']")
