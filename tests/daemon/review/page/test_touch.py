"""The page by touch, on a narrow screen."""

from __future__ import annotations

from tests.daemon.review.page.browser import TILE, shown
from tests.daemon.review.page.conftest import Opener
from tests.daemon.review.page.stub import CLASSES, Stub, sent

#: Pixels that a finger needs.
FINGER = 44


def test_the_pile_is_worked_off_by_touch(new_page: Opener) -> None:
    stub, page = Stub(), new_page(360, touch=True)
    stub.open(page)
    page.wait_for_selector(TILE)
    before = shown(page)
    page.locator(TILE).nth(0).tap()
    page.locator(TILE).nth(1).tap()
    assert page.inner_text("#chosen") == "2 images selected"
    page.locator(".class", has_text="mountains").tap()
    assert [(d["id"], d["to"]) for d in sent(stub, page, 2)] == [(before[0], CLASSES[2]), (before[1], CLASSES[2])]
    page.locator("[data-command=undo]").tap()
    assert shown(page) == before
    page.locator(TILE).nth(0).tap()
    page.locator("[data-command=large]").tap()
    page.locator(".accept").tap()
    page.locator(".large-after").tap()
    page.locator(".class.is-none").tap()
    page.locator(".large-close").tap()
    assert [(d["id"], d["to"]) for d in sent(stub, page, 2)] == [(before[0], CLASSES[before[0] % 5]), (before[2], None)]


def test_what_is_tapped_is_large_enough_and_nothing_is_wider_than_the_screen(new_page: Opener) -> None:
    stub, page = Stub(), new_page(360, touch=True)
    stub.open(page)
    page.wait_for_selector(TILE)
    sizes = page.eval_on_selector_all(
        ".classes button, #views a",
        "all => all.filter(one => one.offsetParent).map(one => [one.offsetWidth, one.offsetHeight])",
    )
    assert min(min(size) for size in sizes) >= FINGER
    for view in ("unsure", "classes", "quarantine", "audit", "audit/a1", "model", "live"):
        page.goto(f"{page.url.split('#')[0]}#{view}")
        page.wait_for_selector("h2")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view


def test_an_audit_is_answered_by_touch(new_page: Opener) -> None:
    stub, page = Stub(), new_page(360, touch=True)
    stub.open(page, "#audit/a1")
    page.wait_for_selector(".large-frame img")
    page.locator(".accept").tap()
    page.locator("[data-command=unknown]").tap()
    assert [(d["id"], d["right"]) for d in sent(stub, page, 2, "audit")] == [(0, True), (1, False)]
