"""A backlog is counted whole, though only the first thousand of it are held ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.files.marker import MARKER
from daemon.watching.watcher import InboxWatcher


def fill(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(b"x")


def watching(root: Path, **options: object) -> InboxWatcher:
    return InboxWatcher([root], settle_seconds=0.01, poll=True, **options)  # type: ignore[arg-type]


def total(watcher: InboxWatcher) -> int:
    status = watcher.status()
    return status.waiting + status.in_flight + status.ahead


@pytest.mark.parametrize("folders", [1, 3])
@pytest.mark.parametrize("stays", [False, True])
def test_what_waits_is_counted_as_it_is_dealt_with(tmp_path: Path, folders: int, stays: bool) -> None:
    for number in range(folders):
        fill(tmp_path / "in" / str(number), 900 // folders)
    fill(tmp_path / "in" / "sorted", 50)
    (tmp_path / "in" / "sorted" / MARKER).touch()
    (tmp_path / "in" / "0" / "notes.txt").write_text("no picture")
    watcher = watching(tmp_path / "in", backlog=100)
    watcher.start()
    done = 0
    while paths := watcher.ready(5.0 if done < 900 else 0.0, 64):
        assert total(watcher) == 900 - done
        for path in paths:
            if not stays:
                path.unlink()
            watcher.done(path)
        done += len(paths)
    assert done == 900
    assert total(watcher) == 0
    watcher.stop()


def test_a_small_inbox_is_counted_exactly(tmp_path: Path) -> None:
    fill(tmp_path / "in", 10)
    watcher = watching(tmp_path / "in", backlog=100)
    watcher.start()
    assert len(watcher.ready(5.0, 64)) == 10
    assert watcher.status().ahead == 0
    watcher.stop()
