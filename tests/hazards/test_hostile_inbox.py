"""Everything that a file system can hold, and images made to break decoders, thrown into a running daemon's inbox."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import stat
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.daemon.conftest import Publish
from tests.hazards.station import Station, station
from tests.pictures import KINDS, save
from tests.processes import family, memory, run, wait_for

#: 2 GB of nothing, which take no room on the disk.
SPARSE = 2 << 30
#: What the daemon and its decoders together may take at most, in bytes.
MOST_MEMORY = 700 << 20


def odd_things(folder: Path) -> set[str]:
    """Put in what has the name of an image and is no file; the names."""
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "there.png").symlink_to("and-back.png")
    (folder / "and-back.png").symlink_to("there.png")
    (folder / "passwd.png").symlink_to("/etc/passwd")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        place = os.getcwd()
        os.chdir(folder)  # the path of a socket is short
        listener.bind("socket.png")
        os.chdir(place)
    names = {"loop.png", "there.png", "and-back.png", "passwd.png", "pipe.png", "socket.png"}
    if os.geteuid() == 0:
        os.mknod(folder / "zero.png", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        os.mknod(folder / "disk.png", stat.S_IFBLK | 0o666, os.makedev(7, 0))
        names |= {"zero.png", "disk.png"}
    return names


def empty_and_huge(folder: Path) -> dict[str, str]:
    """Put in files that are no images; for each the reason it must be in the quarantine for."""
    (folder / "empty.png").touch()
    os.utime(folder / "empty.png", (0, 0))  # nobody is about to write it
    for name in ("huge.png", "long.png"):
        with (folder / name).open("wb") as file:
            file.truncate(SPARSE if name == "huge.png" else 100 << 20)
    (folder / "text.png").write_text("not a picture at all, though it says so")
    return {"empty.png": "empty", "huge.png": "too-large", "long.png": "not-an-image", "text.png": "not-an-image"}


def quarantined(output: Path) -> dict[str, str]:
    """The reason of each file in the quarantine, by its name."""
    notes = [json.loads(path.read_text()) for path in (output / "quarantine").rglob("*.json")]
    return {Path(note["source"]).name: note["reason"] for note in notes}


def check_places(inbox: Path, output: Path, odd: set[str], reasons: dict[str, str]) -> None:
    """Everything is in one place, and it is said why."""
    assert {entry.name for entry in inbox.iterdir()} == {*odd, "up"}
    assert quarantined(output) == reasons
    assert {path.name: path.parent.name for path in (output / "quarantine").rglob("*.png") if path.is_file()} == reasons
    assert (output / "quarantine" / "too-large" / "huge.png").stat().st_size == SPARSE
    assert (output / "quarantine" / "too-large" / "huge.png").stat().st_blocks == 0


def test_one_pass_over_everything(tmp_path: Path, publish: Publish) -> None:
    publish(tmp_path / "checkpoints" / "run")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    odd, reasons = odd_things(inbox), empty_and_huge(inbox)
    for name in reasons:
        os.utime(inbox / name, (1e9, 1e9))
    save(KINDS[0], 1, inbox / "good.png")
    done = run("daemon", "--once", "--threshold", "0", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert f"; {len(odd) + 1} left behind" in done.stderr  # a linked folder is no image, and is counted, too
    assert (tmp_path / "sorted" / KINDS[0] / "good.png").is_file()
    check_places(inbox, tmp_path / "sorted", odd, reasons)
    for name in odd:
        assert f"{str(inbox / name)!r} stays where it is: it is a " in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_of_it_thrown_into_a_running_inbox(tmp_path: Path, publish: Publish, shared_data: Path) -> None:
    hurry = ("--rescan-seconds", "5", "--writer-patience-seconds", "20")  # empty files are waited for, for so long
    with station(tmp_path, publish, *hurry) as here:
        made = here.folder / "made"
        made.mkdir()
        odd, reasons = odd_things(made), empty_and_huge(made)
        wanted = Counter(digest(made / name) for name in reasons)
        watch = Memory(here)
        for path in list(made.iterdir()):
            path.rename(here.inbox / path.name)
        for corpus in ("nasty_gofuzz", "nasty_heif_avif"):
            for number, path in enumerate(sorted(each for each in (shared_data / corpus).rglob("*") if each.is_file())):
                shutil.copyfile(path, here.inbox / f"{corpus}-{number:05}{path.suffix or '.jpg'}")
                wanted[digest(path)] += 1
                if number % 100 == 0:
                    here.well()
        wait_for(
            lambda: {entry.name for entry in here.inbox.iterdir()} == {*odd, "up"}, "everything is gone", seconds=900
        )
        here.well()
        most = watch.stop()
        files = [path for path in here.output.rglob("*") if path.is_file() and not path.name.startswith(".")]
        notes = [path for path in files if path.suffix == ".json"]
        wait_for(lambda: here.status().images["quarantined"] == len(notes) > 0, "every one is counted")
        assert here.status().restarts == 0
    kept = Counter(digest(path) for path in files if path.suffix != ".json" and not path.name.startswith("well-"))
    assert kept == wanted
    assert all(json.loads(note.read_text())["reason"] == note.parent.name for note in notes)
    assert {name: reason for name, reason in quarantined(here.output).items() if name in reasons} == reasons
    assert most < MOST_MEMORY


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Memory:
    """The most memory (PSS) of a daemon and all its processes, looked at while it works."""

    def __init__(self, here: Station) -> None:
        self._here = here
        self._most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> int:
        """In bytes."""
        self._ended.set()
        self._thread.join()
        assert self._most > 0
        return self._most

    def _look(self) -> None:
        while not self._ended.wait(0.2):
            self._most = max(self._most, memory(family(self._here.running.process.pid)))
