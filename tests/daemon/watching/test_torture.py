"""Writers of every habit at once, and a watcher whose events are lost, against one promise: each file once, whole."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from daemon.watching.watcher import InboxWatcher

FILES = 60  # of each writer
WRITERS = 4
END = b"END"
LONG = 60.0


class Writer(threading.Thread):
    """Puts files into an inbox, each in a way drawn by chance; every finished one ends with END."""

    def __init__(self, number: int, inbox: Path, outside: Path) -> None:
        super().__init__()
        self._number = number
        self._chance = random.Random(number)
        self._inbox = inbox
        self._outside = outside

    def run(self) -> None:
        ways = [self._at_once, self._slowly, self._as_part, self._moved, self._linked, self._in_folder, self._folder]
        for number in range(FILES):
            content = f"{self._number} {number} ".encode() + END
            self._chance.choice(ways)(f"{self._number}-{number}.jpg", content)

    def _folder_here(self) -> Path:
        folder = self._inbox / self._chance.choice(["", "a", "a/b", "c"])
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _at_once(self, name: str, content: bytes) -> None:
        (self._folder_here() / name).write_bytes(content)

    def _slowly(self, name: str, content: bytes) -> None:
        with (self._folder_here() / name).open("wb", buffering=0) as file:
            for place in range(0, len(content), 4):
                file.write(content[place : place + 4])
                time.sleep(0.003)

    def _as_part(self, name: str, content: bytes) -> None:
        part = self._folder_here() / f"{name}.part"
        part.write_bytes(content)
        part.rename(part.with_name(name))

    def _moved(self, name: str, content: bytes) -> None:
        (self._outside / name).write_bytes(content)
        (self._outside / name).rename(self._folder_here() / name)

    def _linked(self, name: str, content: bytes) -> None:
        (self._outside / name).write_bytes(content)
        (self._folder_here() / name).hardlink_to(self._outside / name)

    def _in_folder(self, name: str, content: bytes) -> None:
        folder = self._inbox / f"made {name}" / "deep"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content)

    def _folder(self, name: str, content: bytes) -> None:
        folder = self._outside / f"moved {name}"
        folder.mkdir()
        folder.rename(self._inbox / folder.name)
        (self._inbox / folder.name / name).write_bytes(content)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"rescan_seconds": 3600.0}, id="events alone"),
        pytest.param({"rescan_seconds": 0.05, "most_hints": 2, "backlog": 5}, id="events lost"),
        pytest.param({"poll": True, "poll_seconds": 0.05}, id="polling"),
    ],
)
def test_every_file_is_handed_out_once_and_whole(
    settings: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    inbox, outside = tmp_path / "inbox", tmp_path / "outside"
    inbox.mkdir()
    outside.mkdir()
    watcher = InboxWatcher([inbox], settle_seconds=0.05, **settings)
    request.addfinalizer(watcher.stop)
    watcher.start()
    writers = [Writer(number, inbox, outside) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    taken: list[str] = []
    deadline = time.monotonic() + LONG
    while len(taken) < FILES * WRITERS:
        assert time.monotonic() < deadline, watcher.status()
        for path in watcher.ready(0.5, 8):
            if path.read_bytes().endswith(END):
                taken.append(path.name)
                path.unlink()
                watcher.done(path)
            else:
                assert watcher.ends_early(path), "given up while it was being written"
    for writer in writers:
        writer.join()
    assert watcher.ready(0.2, 8) == []
    assert sorted(taken) == sorted(f"{writer}-{number}.jpg" for writer in range(WRITERS) for number in range(FILES))
    assert watcher.status().in_flight == 0
