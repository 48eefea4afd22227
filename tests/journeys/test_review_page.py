"""Somebody decides on the review page beside a running daemon, also while that restarts."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.journal.journal import read_labels
from daemon.journal.labels import How
from daemon.state import journal_path
from models.weights.store import WeightsStore
from tests.daemon.review.browser import Browser
from tests.pictures import save
from tests.processes import daemon, environment, wait_for

LINK = re.compile(r"http://127\.0\.0\.1:([0-9]+)(/enter/\S+)")


@contextmanager
def review_page(place: Path) -> Iterator[Browser]:
    """The page's server as its command starts it, and a browser that has followed its link."""
    log = place / "page.log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "daemon", "review", "--listen", "127.0.0.1:0"]
        process = subprocess.Popen(command, cwd=place, env=environment(), stdout=file, stderr=file)
    try:
        wait_for(lambda: LINK.search(log.read_text()), "it prints a link")
        port, path = LINK.findall(log.read_text())[0]
        browser = Browser(int(port))

        def is_let_in() -> bool:
            try:
                return browser.enter(path).status == 303
            except ConnectionError:
                return False

        wait_for(is_let_in, "it answers")
        yield browser
    finally:
        process.terminate()
        code = process.wait()
    assert code == 0, log.read_text()


@pytest.mark.slow
def test_a_decision_is_carried_out_by_the_daemon_also_by_the_next_one(tmp_path: Path, store: WeightsStore) -> None:
    settings = f'watch = ["inbox"]\noutput = "sorted"\nstate_dir = "{tmp_path / "state"}"\nthreshold = 0.9999\n'
    (tmp_path / "config.toml").write_text(settings)
    (tmp_path / "inbox").mkdir()
    for number in range(2):
        save("discs", number, tmp_path / "inbox" / f"{number}.png")
    kept = tmp_path / "sorted" / "kept"
    with daemon(tmp_path) as first:
        wait_for(lambda: len([*(tmp_path / "sorted").glob("others/*.png")]) == 2, first.log())
        with review_page(tmp_path) as browser:
            one, two = ({"kind": "label", "to": "kept", "new": True, **pick} for pick in picks(browser))
            (state,) = browser.decide(one)
            assert state["state"] == "done", state
            assert len([*kept.glob("*.png")]) == 1
            assert first.terminate() == 0
            sent = browser.post("/api/decisions", {"decisions": [{"key": "meanwhile", **two}]}).json()
            assert sent["decisions"][0]["state"] == "waiting"
            wait_for(lambda: browser.get("/api/changes?since=0").json()["trouble"], "the page says that it waits")
            assert len([*kept.glob("*.png")]) == 1
            with daemon(tmp_path) as second:
                assert [state["state"] for state in browser.settled("meanwhile")] == ["done"]
                assert len([*kept.glob("*.png")]) == 2
                assert browser.get("/api/session").json()["daemon"] is True
                labels = read_labels(journal_path(tmp_path / "state", tmp_path / "sorted"))
                assert [(label.label, label.how) for label in labels] == [("kept", How.REVIEWED)] * 2
                assert second.terminate() == 0


def picks(browser: Browser) -> list[dict[str, object]]:
    """The images that were filed last, as decisions name them; without a look at the pile by a model."""
    images = browser.get("/api/live?minutes=60").json()["images"]
    return [{"id": image["id"], "version": image["version"]} for image in images]
