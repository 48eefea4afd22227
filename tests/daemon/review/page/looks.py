"""Every view of the page as pictures, to be looked at: ``python -m tests.daemon.review.page.looks FOLDER``.

In three widths, both languages and both schemes of colours: on a telephone, on a desk and on a large screen.
``--view`` and ``--width`` make only some of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.daemon.review.page.browser import TILE, chromium, context_of
from tests.daemon.review.page.screenshots import NAMES
from tests.daemon.review.page.stub import ADDRESS, Stub

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDTHS = (360, 1280, 3840)


@dataclass(frozen=True)
class Look:
    """What is looked at: an address, what to wait for, and what to do there."""

    address: str
    awaited: str = TILE
    act: Callable[[Page], None] = lambda _: None
    count: int = 60
    refuses: str | None = None


def _keys(*keys: str) -> Callable[[Page], None]:
    def press(page: Page) -> None:
        for key in keys:
            page.keyboard.press(key)

    return press


def _find(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("a")


LOOKS = {
    "unsure": Look("#unsure", act=_keys("ArrowRight")),
    "unsure-selected": Look("#unsure", act=_keys("ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight")),
    "unsure-large": Look("#unsure", act=_keys("ArrowRight", "ArrowRight", "Space")),
    "unsure-empty": Look("#unsure", ".empty:not([hidden])", count=0),
    "keys": Look("#unsure", act=_keys("?")),
    "find": Look("#unsure", act=_find),
    "classes": Look("#classes"),
    "quarantine": Look("#quarantine"),
    "quarantine-empty": Look("#quarantine", ".empty:not([hidden])", count=0),
    "audits": Look("#audit", ".audits a"),
    "audit": Look("#audit/a1", ".large-frame img", act=_keys("Enter", "-", "Enter")),
    "audit-over": Look("#audit/a1", ".large-frame img", act=_keys(*["Enter", "-", "Enter"] * 4)),
    "model": Look("#model", ".matrix"),
    "model-large": Look("#model", ".matrix", act=_keys("Space")),
    "live": Look("#live"),
    "live-empty": Look("#live", ".empty:not([hidden])", count=0),
    "trouble": Look("#unsure", act=_keys("Enter"), refuses="the image was changed or moved since it was filed"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--view", action="append", choices=LOOKS)
    parser.add_argument("--width", action="append", type=int)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for width in options.width or WIDTHS:
            for language in NAMES:
                for dark in (False, True):
                    scheme = "dark" if dark else "light"
                    with context_of(browser, width, dark=dark, touch=width < 800) as context:
                        stub = Stub(language=language, classes=NAMES[language], odd_names=False, audits=8)
                        page = context.new_page()
                        stub.open(page)
                        for name in options.view or LOOKS:
                            look_at(page, stub, name)
                            page.screenshot(path=options.folder / f"{name}.{width}.{language}.{scheme}.png")


def look_at(page: Page, stub: Stub, name: str) -> None:
    """Show a view, without a load of the page, and say where it is wider than its window."""
    look = LOOKS[name]
    stub.count, stub.refuses = look.count, look.refuses
    stub.decided.clear()
    page.goto(f"{ADDRESS}#none")
    page.keyboard.press("Escape")
    page.goto(f"{ADDRESS}{look.address}")
    page.wait_for_selector(look.awaited)
    look.act(page)
    page.wait_for_timeout(700)
    width = page.viewport_size["width"] if page.viewport_size else 0
    if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
        print(f"{name} at {width}: {wide} px wide")


if __name__ == "__main__":
    main()
