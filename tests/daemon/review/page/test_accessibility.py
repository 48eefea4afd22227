"""The page by the rules of axe-core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.daemon.review.page.browser import TILE
from tests.daemon.review.page.conftest import Opener
from tests.daemon.review.page.stub import ADDRESS, Stub

if TYPE_CHECKING:
    from playwright.sync_api import Page

VIEWS = {
    "#unsure": TILE,
    "#classes": TILE,
    "#quarantine": TILE,
    "#audit": ".audits a",
    "#audit/a1": ".large-frame img",
    "#model": ".matrix",
    "#live": TILE,
}
SERIOUS = {"serious", "critical"}


def findings(page: Page) -> list[str]:
    """What is wrong by axe-core, whose script runs outside the policy of the page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed here")
    found: dict[str, Any] = axe.Axe().run(page).response
    return [
        f"{rule['id']}: {node['html'][:120]}"
        for rule in found["violations"]
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)])
def test_no_view_has_a_serious_finding(new_page: Opener, width: int, dark: bool) -> None:
    page = new_page(width, dark=dark)
    Stub(count=12, language="ko" if dark else "en").open(page)
    for view, awaited in VIEWS.items():
        page.goto(f"{ADDRESS}{view}")
        page.wait_for_selector(awaited)
        if view == "#unsure":
            page.keyboard.press("Control+a")
            page.keyboard.press("?")
        assert findings(page) == [], view
        page.keyboard.press("Escape")
