"""An output to be reviewed, and a page of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.state import journal_path
from tests.daemon.review.browser import Page, Reviewed, open_page
from tests.filing_desk import make_desk


@pytest.fixture
def reviewed(tmp_path: Path) -> Reviewed:
    """An output with two unsure images and one of a class."""
    desk = make_desk(tmp_path)
    desk.output.mkdir()
    state = tmp_path / "state"
    reviewed = Reviewed(replace(desk, journal_path=journal_path(state, desk.output)), state)
    reviewed.file("one.png")
    reviewed.file("two.png")
    reviewed.file("sure.png", "cat", confidence=0.9)
    return reviewed


@pytest.fixture
def page(reviewed: Reviewed) -> Iterator[Page]:
    with open_page(reviewed) as page:
        yield page
