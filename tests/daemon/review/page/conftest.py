"""One Chromium for the tests of a process, and a window for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.daemon.review.page.browser import Complaints, chromium, context_of
from tests.daemon.review.page.stub import HOST

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Opener = Callable[..., "Page"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser without windows."""
    with chromium() as started:
        yield started


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Opener]:
    """``new_page(width, dark=…, touch=…, host=…)``; afterwards none may have complained or asked another host."""
    contexts, complaints = [], []

    def make(width: int = 1280, *, dark: bool = False, touch: bool = False, host: str = HOST) -> Page:
        contexts.append(context_of(browser, width, dark=dark, touch=touch))
        page = contexts[-1].new_page()
        complaints.append(Complaints(host))
        complaints[-1].watch(page)
        return page

    yield make
    for context in contexts:
        context.close()
    assert [error for each in complaints for error in each.errors] == []
    assert [address for each in complaints for address in each.foreign] == []
