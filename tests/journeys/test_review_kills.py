"""Somebody decides picture after picture on the review page, and the daemon is killed in the midst of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon.journal.history import Wanted
from daemon.journal.journal import read_history, read_labels
from daemon.journal.records import State
from daemon.state import journal_path
from models.weights.store import WeightsStore
from tests.daemon.review.browser import Browser
from tests.journeys.test_review_page import review_page
from tests.pictures import KINDS, save
from tests.processes import Daemon, daemon, wait_for

IMAGES, BATCH = 48, 3
#: Pictures that have arrived in their class when the daemon is killed, each time.
KILLED_AT = (4, 17, 31)
FOLDERS = ("kept", "보관")


@pytest.mark.slow
def test_no_decision_is_lost_or_done_twice_when_the_daemon_is_killed(tmp_path: Path, store: WeightsStore) -> None:
    settings = f'watch = ["inbox"]\noutput = "sorted"\nstate_dir = "{tmp_path / "state"}"\nthreshold = 0.9999\n'
    (tmp_path / "config.toml").write_text(settings)
    (tmp_path / "inbox").mkdir()
    for number in range(IMAGES):
        save(KINDS[number % 3], number, tmp_path / "inbox" / f"{number:02}.png")
    output = tmp_path / "sorted"
    with daemon(tmp_path) as first:
        wait_for(lambda: len([*output.glob("others/*.png")]) == IMAGES, first.log())
        for folder in FOLDERS:
            (output / folder).mkdir()
        with review_page(tmp_path) as browser:
            decisions = decisions_on(browser)
            sending = threading.Thread(target=send, args=(browser, decisions))
            sending.start()
            kill_when(tmp_path, first.process.kill, KILLED_AT[0])
            first.process.wait()
            for count in KILLED_AT[1:]:
                with started_again(tmp_path) as next_one:
                    kill_when(tmp_path, next_one.process.kill, count)
            with started_again(tmp_path) as last:
                sending.join()
                keys = [str(decision["key"]) for decision in decisions]
                states = browser.settled(",".join(keys))
                assert Counter(state["state"] for state in states) == {"done": IMAGES}, states
                assert last.terminate() == 0
    assert sorted(path.name for path in moved(output)) == [f"{number:02}.png" for number in range(IMAGES)]
    assert [*output.glob("others/*.png")] == []
    journal = journal_path(tmp_path / "state", output)
    wanted = {int(str(decision["id"])): str(decision["to"]) for decision in decisions}
    contents = {row.id: row.sha256 for row in read_history(journal, Wanted(ids=[*wanted]))}
    said = {contents[number]: to for number, to in wanted.items()}
    labels = list(read_labels(journal))
    assert Counter(label.sha256 for label in labels) == dict.fromkeys(said, 1)
    assert {label.sha256: label.label for label in labels} == said
    rows = [row for row in read_history(journal, Wanted()) if row.folder is not None and row.folder.name in FOLDERS]
    assert Counter(row.sha256 for row in rows if row.state is State.DONE) == dict.fromkeys(said, 1)


@contextmanager
def started_again(place: Path) -> Iterator[Daemon]:
    """Start a daemon as often as it takes: without one for long, the page does itself what was decided."""
    before = (place / "daemon.log").read_text().count("ready;")
    while True:
        with daemon(place) as running:
            wait_for(lambda: running.process.poll() is not None or running.log().count("ready;") > before, "it starts")
            if running.process.poll() is None:
                yield running
                return


def decisions_on(browser: Browser) -> list[dict[str, Any]]:
    """Decide on all images of the pile."""
    images = browser.get(f"/api/live?minutes=600&limit={IMAGES}").json()["images"]
    return [
        {"kind": "label", "key": f"decision-{image['id']}", "id": image["id"], "version": image["version"], "to": to}
        for image, to in zip(images, FOLDERS * IMAGES, strict=False)
    ]


def send(browser: Browser, decisions: list[dict[str, Any]]) -> None:
    """Send a few at a time, each once the server has the ones before."""
    for start in range(0, len(decisions), BATCH):
        assert browser.post("/api/decisions", {"decisions": decisions[start : start + BATCH]}).status == 200


def moved(output: Path) -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (output / folder).glob("*.png")


def kill_when(place: Path, kill: Callable[[], None], count: int) -> None:
    """Kill a daemon as soon as so many images have arrived in their classes."""
    wait_for(lambda: len([*moved(place / "sorted")]) >= count, f"{count} are moved")
    kill()
