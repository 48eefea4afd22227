"""Somebody puts right what the daemon filed, while it is busy, and while it is away."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.journal.journal import read_labels
from daemon.state import journal_path, status_path
from tests.pictures import KINDS, save
from tests.processes import daemon, wait_for


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "config.toml").write_text(f'watch = ["inbox"]\nstate_dir = "{tmp_path / "state"}"\nthreshold = 0\n')
    return tmp_path


def labels(place: Path) -> dict[str, str | None]:
    return {label.path.name: label.label for label in read_labels(journal_path(place / "state", place / "sorted"))}


def filed(place: Path, name: str) -> Path:
    """Where an image was filed to, once it was."""
    wait_for(lambda: [*(place / "sorted").glob(f"*/{name}")], f"{name} is filed")
    return next((place / "sorted").glob(f"*/{name}"))


def correct(image: Path, folder: str) -> Path:
    target = image.parent.with_name(folder) / image.name
    target.parent.mkdir(exist_ok=True)
    return image.rename(target)


@contextmanager
def arriving(place: Path) -> Iterator[None]:
    """Images that come one after the other meanwhile."""
    end, picture = threading.Event(), save(KINDS[0], 1000, place / "picture.jpg")

    def come() -> None:
        number = 0
        while not end.wait(0.05):
            shutil.copyfile(picture, place / "inbox" / f"more{number}.jpg")
            number += 1

    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize("arguments", [(), ("--poll",)], ids=["events", "polling"])
def test_corrections_become_labels(place: Path, arguments: Sequence[str]) -> None:
    for number, kind in enumerate(KINDS):
        save(kind, number, place / "inbox" / f"{number}.jpg")
    with daemon(place, *arguments) as running:
        images = [filed(place, f"{number}.jpg") for number in range(len(KINDS))]
        with arriving(place):
            correct(images[0], "wolf")
            correct(images[1], "others")
            wait_for(lambda: labels(place) == {"0.jpg": "wolf", "1.jpg": None}, "they are noted")
        wait_for(lambda: status(place)["labels"] == {"moved": 2}, "status counts them")
        running.process.kill()
    correct(images[2], "fox")
    (place / "sorted/wolf/0.jpg").rename(images[0])
    with daemon(place, *arguments) as running:
        wait_for(lambda: labels(place) == {"1.jpg": None, "2.jpg": "fox"}, "what was done meanwhile is noted")
        assert running.terminate() == 0
    assert "internal error" not in running.log()


def status(place: Path) -> dict[str, object]:
    answer: dict[str, object] = json.loads(status_path(place / "state", place / "sorted").read_text(encoding="utf-8"))
    return answer
