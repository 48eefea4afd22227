"""The audits over time, as a chart."""

from __future__ import annotations

from tests.daemon.review.page.conftest import Opener
from tests.daemon.review.page.stub import Stub


def test_audits_are_drawn_from_the_oldest_on_with_what_was_promised(new_page: Opener) -> None:
    page = new_page()
    Stub(audits=4).open(page, "#audit")
    page.wait_for_selector(".audits a")
    columns = page.query_selector_all(".chart-column")[::-1]
    assert ["is-broken" in (column.get_attribute("class") or "") for column in columns] == [False, True, False, False]
    assert len(page.query_selector_all(".chart-bar .promised")) == 4
    heights: list[float] = page.eval_on_selector_all(
        ".chart-bar .point", "all => all.map((point) => parseFloat(point.style.bottom))"
    )
    assert heights[2] == max(heights)
    assert 0 <= min(heights) < max(heights) <= 100


def test_one_audit_is_a_sentence(new_page: Opener) -> None:
    page = new_page()
    Stub(audits=1).open(page, "#audit")
    page.wait_for_selector(".audits a")
    assert page.query_selector(".chart") is None
