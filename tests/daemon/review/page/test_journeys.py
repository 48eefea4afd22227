"""The page before its real server, which files real images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.daemon.review.browser import Page as Server
from tests.daemon.review.browser import Reviewed, open_page
from tests.daemon.review.page.browser import TILE, current, shown, until
from tests.daemon.review.page.conftest import Opener
from tests.processes import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

MARKUP = "<img src=x onerror='document.title=1'>\u202egpj.png"


def files(reviewed: Reviewed, folder: str) -> set[str]:
    there = reviewed.desk.output / folder
    return {file.name for file in there.iterdir() if not file.name.startswith(".")} if there.is_dir() else set()


def enter(server: Server, page: Page) -> None:
    page.goto(f"http://{server.browser.host}{server.link()}")
    page.wait_for_selector(TILE)


@pytest.fixture
def server(browser: object, reviewed: Reviewed) -> Iterator[Server]:
    """The server of an output with six unsure images."""
    for number in range(3):
        reviewed.file(f"more{number}.png")
    reviewed.file(MARKUP)
    (reviewed.desk.output / "dog").mkdir()
    with open_page(reviewed) as started:
        yield started


def test_the_pile_is_worked_off_by_keys_in_two_pages(server: Server, reviewed: Reviewed, new_page: Opener) -> None:
    one, other = (new_page(host=server.browser.host) for _ in range(2))
    enter(server, one)
    enter(server, other)
    assert one.inner_text(".name:not(:empty)").startswith(("<img", "more", "one", "two"))
    until(one, f"document.querySelector('{TILE} img').naturalWidth > 0")
    before = shown(one)
    assert len(before) == 6
    one.keyboard.press(one.inner_text(".class[data-name=dog] kbd"))
    one.keyboard.press("Enter")  # cat, as proposed
    wait_for(lambda: len(files(reviewed, "dog")) == 1, "it is filed")
    wait_for(lambda: len(files(reviewed, "cat")) == 2, "it is filed")
    until(other, f"document.querySelectorAll('{TILE}').length === 4")
    one.keyboard.press("Backspace")
    wait_for(lambda: len(files(reviewed, "cat")) == 1, "it is taken back")
    assert current(one) == before[1]
    one.keyboard.press("Enter")
    wait_for(lambda: len(files(reviewed, "cat")) == 2, "it is filed again")
    one.keyboard.press("Control+a")
    one.keyboard.press("0")
    until(one, "!document.querySelector('.empty').hidden")
    until(one, "document.querySelector('#state').textContent === ''")
    assert len(files(reviewed, "others")) == 4
    assert one.title() == "Unsure – imagesortd"
    assert one.query_selector("#notice p") is None


def test_a_picture_that_vanished_comes_back_with_a_reason(
    server: Server, reviewed: Reviewed, new_page: Opener, tmp_path: Path
) -> None:
    page = new_page(host=server.browser.host)
    enter(server, page)
    for name in files(reviewed, "others"):
        (reviewed.desk.output / "others" / name).rename(tmp_path / name)
    page.keyboard.press("1")
    page.wait_for_selector("#notice p")
    assert files(reviewed, "cat") == {"sure.png"}


def test_a_class_is_looked_through_and_a_picture_goes_back_to_its_inbox(
    server: Server, reviewed: Reviewed, new_page: Opener
) -> None:
    page = new_page(host=server.browser.host)
    enter(server, page)
    page.keyboard.press("]")
    page.wait_for_selector(f"{TILE}[title='sure.png']")
    page.keyboard.press("Delete")
    wait_for(lambda: (reviewed.desk.inbox / "sure.png").exists(), "it is in its inbox")


def test_without_a_session_the_page_says_how_to_get_in(server: Server, new_page: Opener) -> None:
    page = new_page(host=server.browser.host)
    page.goto(f"http://{server.browser.host}/")
    assert "review --link" in page.inner_text("main")


def test_an_audit_is_drawn_and_answered_by_keys(server: Server, reviewed: Reviewed, new_page: Opener) -> None:
    reviewed.file("another.png", "cat", confidence=0.95)
    page = new_page(host=server.browser.host)
    enter(server, page)
    page.goto(f"http://{server.browser.host}/#audit")
    page.locator(".draw button").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".large-frame img")
    page.keyboard.press("Enter")
    page.keyboard.press("-")
    until(page, "document.querySelector('.summary').textContent.includes('1 of 2 wrong')")
    page.goto(f"http://{server.browser.host}/#audit")
    until(page, "document.querySelector('.audits')?.textContent.includes('1 of 2 wrong')")


def test_the_model_is_shown_and_what_was_filed_last(server: Server, new_page: Opener) -> None:
    page = new_page(host=server.browser.host)
    enter(server, page)
    page.goto(f"http://{server.browser.host}/#model")
    until(page, "document.querySelector('.facts')?.textContent !== ''")
    page.goto(f"http://{server.browser.host}/#live")
    page.wait_for_selector(f"{TILE}[title='sure.png']")
