"""The page comes with what it would ask for first, and a browser that has its files is not sent them again."""

from __future__ import annotations

import html
import json
import re

from tests.daemon.review.browser import Page, Reviewed, open_page

BEGUN = re.compile(r'<template id="begun">(.*)</template>')


def test_a_script_that_has_not_changed_is_not_sent_again(page: Page) -> None:
    first = page.browser.get("/page/main.js")
    assert (first.status, first.headers["cache-control"]) == (200, "no-cache")
    again = page.browser.get("/page/main.js", **{"If-None-Match": first.headers["etag"]})
    assert (again.status, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert page.browser.get("/page/main.js", **{"If-None-Match": '"of another version"'}).content == first.content


def test_the_page_comes_with_what_it_would_ask_for_first_as_text(reviewed: Reviewed) -> None:
    odd = reviewed.file("<img src=x onerror=alert(1)>.png")
    with open_page(reviewed) as page:
        sent = page.browser.get("/").content.decode()
        begun = json.loads(html.unescape(BEGUN.findall(sent)[0]))
        assert "<img" not in sent
        for name in ("session", "words", "classes"):
            assert begun[name] == page.browser.get(f"/api/{name}").json()
        images = [image for group in begun["unsure"]["groups"] for image in group["images"]]
        assert images[0] == page.browser.unsure()[0]
        assert (images[0]["id"], images[0]["name"]) == (odd.id, "<img src=x onerror=alert(1)>.png")
        assert "begun" not in page.stranger().get("/").content.decode()
