"""One Chromium for the tests of a process, one window of each kind, and a page for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.daemon.review.page.browser import TILE, Complaints, chromium, context_of
from tests.daemon.review.page.stub import HOST, Stub

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

Opener = Callable[..., "Page"]
#: Pixels of a window in which all images of a stub are near enough to be in the document.
HEIGHT = 1600


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser without windows."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def windows() -> dict[tuple[int, bool, bool], BrowserContext]:
    """Windows that are open, by their width, colours and whether they are touched."""
    return {}


@pytest.fixture
def new_page(browser: Browser, windows: dict[tuple[int, bool, bool], BrowserContext]) -> Iterator[Opener]:
    """``new_page(width, dark=…, touch=…, host=…)``; afterwards none may have complained or asked another host.

    No page finds anything that one of another test has stored.
    """
    pages, complaints = [], []

    def make(width: int = 1280, *, dark: bool = False, touch: bool = False, host: str = HOST) -> Page:
        kind = width, dark, touch
        if kind not in windows:
            windows[kind] = context_of(browser, width, height=None if touch else HEIGHT, dark=dark, touch=touch)
            windows[kind].new_page()  # it stays: with the last page goes their process, which is half of a test's work
        pages.append(windows[kind].new_page())
        complaints.append(Complaints(host))
        complaints[-1].watch(pages[-1])
        return pages[-1]

    yield make
    for page in pages:
        page.evaluate("localStorage.clear()")
    for page in pages:
        page.close()
    for window in windows.values():
        window.clear_cookies()
    assert [error for each in complaints for error in each.errors] == []
    assert [address for each in complaints for address in each.foreign] == []


@pytest.fixture
def stub() -> Stub:
    """A server whose answers are made up."""
    return Stub()


@pytest.fixture
def page(new_page: Opener, stub: Stub) -> Page:
    """A page that shows the pile of that server."""
    page = new_page()
    stub.open(page)
    page.wait_for_selector(TILE)
    return page
