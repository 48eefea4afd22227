"""The scripts and style sheets of the page: a browser that has them is not sent them again."""

from __future__ import annotations

from tests.daemon.review.browser import Page


def test_a_script_that_has_not_changed_is_not_sent_again(page: Page) -> None:
    first = page.browser.get("/page/main.js")
    assert (first.status, first.headers["cache-control"]) == (200, "no-cache")
    again = page.browser.get("/page/main.js", **{"If-None-Match": first.headers["etag"]})
    assert (again.status, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert page.browser.get("/page/main.js", **{"If-None-Match": '"of another version"'}).content == first.content
