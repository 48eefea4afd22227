"""Chromium with the page in it, and what the browser complained about."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.processes import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

#: A picture on the board.
TILE = "li[role=option]"

#: What is measured in the page: the milliseconds until the frame is drawn that follows a key.
KEY_TO_PAINT = """
async (key) => {
  const begun = performance.now();
  document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  await new Promise((done) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  }));
  return performance.now() - begun;
}
"""


@dataclass
class Complaints:
    """Errors on the console, errors that nobody caught, and requests to other hosts."""

    host: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._requested)

    def _said(self, message: ConsoleMessage) -> None:
        is_ours = "Failed to load resource" not in message.text  # a refused request is shown by the page
        if message.type in {"error", "warning"} and is_ours:
            self.errors.append(message.text)

    def _requested(self, request: Request) -> None:
        if urlsplit(request.url).scheme in {"http", "https", "ws"} and urlsplit(request.url).netloc != self.host:
            self.foreign.append(request.url)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium; the test is skipped where it or Playwright is not there."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed here")
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("Chromium is not installed here")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


def context_of(
    browser: Browser, width: int, *, height: int | None = None, dark: bool = False, touch: bool = False
) -> BrowserContext:
    """Make a window of a width; a narrow one is that of a telephone."""
    height = height or (800 if width < 800 else width * 9 // 16)
    options: dict[str, Any] = {"viewport": {"width": width, "height": height}, "has_touch": touch, "is_mobile": touch}
    context = browser.new_context(**options, color_scheme="dark" if dark else "light", locale="en-GB")
    context.set_default_timeout(1000 * PATIENCE)
    return context


def shown(page: Page) -> list[int]:
    """The images on the board that are near the window, in their order."""
    ids: list[str] = page.eval_on_selector_all(f".group:not([hidden]) {TILE}", "tiles => tiles.map(t => t.dataset.id)")
    return [int(one) for one in ids]


def current(page: Page) -> int:
    found: str = page.get_attribute(f'{TILE}[tabindex="0"]', "data-id") or ""
    return int(found)


def until(page: Page, condition: str) -> None:
    """Wait for a condition; Playwright's own way to do so is against the policy of the page."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    pytest.fail(f"never: {condition}")
