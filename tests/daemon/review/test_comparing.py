"""Images are compared by the process that looks at them with the model, and shown in the order that it finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daemon.review import comparing
from models.weights.store import WeightsStore
from tests.daemon.review.browser import Browser, Page, Reviewed, open_page
from tests.pictures import KINDS, save
from tests.processes import wait_for


@pytest.fixture
def odd_one(reviewed: Reviewed) -> int:
    """A class of pictures that are alike, but for one, of which the model was quite sure."""
    for number in range(6):
        path = save(KINDS[0], number, reviewed.desk.inbox / f"alike{number}.png")
        reviewed.desk.file_one(path, "cat", label="cat", confidence=0.6)
    path = save(KINDS[-1], 3, reviewed.desk.inbox / "odd.png")
    odd = reviewed.desk.file_one(path, "cat", label="cat", confidence=0.99).row.id
    assert odd is not None
    return odd


def of_class(browser: Browser, **more: object) -> dict[str, Any]:
    query = "".join(f"&{name}={value}" for name, value in more.items())
    answer: dict[str, Any] = browser.get(f"/api/class?name=cat&order=most-unlike{query}").json()
    return answer


def compared(browser: Browser) -> None:
    wait_for(lambda: of_class(browser)["is_ordered"], "the pictures are compared")


def test_the_picture_that_is_least_like_the_others_of_its_class_is_the_first(
    reviewed: Reviewed, odd_one: int, store: WeightsStore
) -> None:
    with open_page(reviewed) as page:
        before = of_class(page.browser)
        assert (before["is_ordered"], len(before["images"])) == (False, 8)
        compared(page.browser)
        ids = [image["id"] for image in of_class(page.browser)["images"]]
        assert ids[0] == odd_one
        paged: list[int] = []
        after = None
        while len(paged) < 8:
            answer = of_class(page.browser, limit=3, **({} if after is None else {"after": after}))
            paged += [image["id"] for image in answer["images"]]
            after = answer["next"]
        assert paged == ids
        least = page.browser.get("/api/class?name=cat&order=least-sure").json()
        assert least["images"][-1]["id"] == odd_one


def test_what_was_moved_on_is_left_out_and_what_comes_is_compared(
    reviewed: Reviewed, odd_one: int, store: WeightsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.review.unlikeness.PAUSE_SECONDS", 0.0)
    with open_page(reviewed) as page:
        compared(page.browser)
        (reviewed.desk.output / "cat" / "odd.png").unlink()
        ids = [image["id"] for image in of_class(page.browser, limit=3)["images"]]
        assert (odd_one in ids, len(ids)) == (False, 3)
        new = reviewed.file("new.png", "cat", confidence=0.9).id

        def is_there() -> bool:
            return new in [image["id"] for image in of_class(page.browser)["images"]]

        wait_for(is_there, "it is compared, too")


def test_a_process_that_fails_leaves_the_order_of_sureness(
    page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail() -> None:
        raise OSError("no process")

    monkeypatch.setattr(comparing, "start_process", fail)
    for _ in range(3):
        answer = of_class(page.browser)
        assert (answer["is_ordered"], [image["name"] for image in answer["images"]]) == (False, ["sure.png"])
