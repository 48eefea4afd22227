"""Every way in which a file comes into an inbox, by real tools, with a real daemon that has nothing but events."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.conftest import Publish
from tests.hazards.station import Station, station
from tests.pictures import KINDS, save_slow
from tests.processes import AT_WORK, children, ticks, wait_for

#: Seconds that a slow writer rests, which is longer than the daemon lets a file settle.
REST = 0.3


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, publish: Publish) -> Iterator[Station]:
    """One daemon for all these tests, which looks into the inbox on its own once an hour."""
    with station(tmp_path_factory.mktemp("station"), publish, "--rescan-seconds", "3600") as made:
        yield made


def put(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def test_a_slow_writer(here: Station) -> None:
    picture = here.picture("slow.png")
    content = picture.read_bytes()
    target = here.inbox / "slow.png"
    with subprocess.Popen(["dd", f"of={target}", "bs=64k", "status=none"], stdin=subprocess.PIPE) as dd:
        assert dd.stdin is not None
        piece = len(content) // 3 + 1
        for start in range(0, len(content), piece):
            assert target.exists() or start == 0
            dd.stdin.write(content[start : start + piece])
            dd.stdin.flush()
            time.sleep(REST)
    here.filed(target, content)


def test_truncated_then_completed(here: Station) -> None:
    picture = here.picture("half.png")
    content = picture.read_bytes()
    target = here.inbox / "half.png"
    put("cp", picture, target.with_suffix(".png.part"))
    with target.with_suffix(".png.part").open("r+b") as file:
        file.truncate(len(content) // 2)
    target.with_suffix(".png.part").rename(target)  # complete, as far as events tell
    wait_for(lambda: here.status().waiting == 1, "it is looked at")
    time.sleep(REST)
    with target.open("ab") as file:
        file.write(content[len(content) // 2 :])
    here.filed(target, content)


def test_deleted_before_stable(here: Station) -> None:
    target = here.inbox / "gone.png"
    content = here.picture("gone.png").read_bytes()
    with target.open("wb", buffering=0) as file:
        file.write(content[:100])
        wait_for(lambda: here.status().waiting == 1, "it is seen")
        target.unlink()
        file.write(content[100:])
    wait_for(lambda: here.status().waiting == 0, "it is forgotten")
    here.well()
    assert here.holders(content) == []
    assert "gone.png" not in here.running.log()


def test_replaced_while_decoding(here: Station) -> None:
    slow, other = save_slow(here.folder / "changed.png"), here.picture("changed.png")
    content = other.read_bytes()
    (fork_server,) = children(here.running.process.pid)
    before = {pid: ticks(pid) for pid in children(fork_server)}
    target = slow.rename(here.inbox / "changed.png")
    wait_for(lambda: any(ticks(pid) - before.get(pid, 0) >= AT_WORK for pid in children(fork_server)), "it is decoded")
    other.rename(target)
    here.filed(target, content)
    assert len([*here.output.rglob("changed*")]) == 1


TOOLS = {
    "mv": 'mv "$1" "$2"',
    "mv from another file system": 'cp "$1" /dev/shm/$$.png && mv /dev/shm/$$.png "$2"',
    "cp": 'cp "$1" "$2"',
    "cp -p": 'cp -p "$1" "$2"',
    "ln": 'ln "$1" "$2"',
    "install": 'install -m 600 "$1" "$2"',
    "rsync": 'rsync -a "$1" "$2"',
    "rsync --inplace": 'rsync -a --inplace "$1" "$2"',
    "part": 'cp "$1" "$2.part" && mv "$2.part" "$2"',
    "tar": 'tar -C "${1%/*}" -c "${1##*/}" | tar -C "${2%/*}" -x',
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_file_comes_by(tool: str, here: Station) -> None:
    if shutil.which(tool.split()[0]) is None and tool != "part":
        pytest.skip(f"there is no {tool.split()[0]} here")
    picture = here.picture(f"by {tool}.png", KINDS[1])
    content = picture.read_bytes()
    target = here.inbox / picture.name
    put("sh", "-c", TOOLS[tool], "sh", picture, target)
    here.filed(target, content, KINDS[1])
    here.output.joinpath(KINDS[1], picture.name).unlink()


def test_a_folder_is_moved_in_and_filled_further(here: Station) -> None:
    pictures = [here.picture(f"album-{number}.png", KINDS[2]) for number in range(4)]
    contents = [picture.read_bytes() for picture in pictures]
    album = here.folder / "album"
    (album / "deep").mkdir(parents=True)
    pictures[0].rename(album / pictures[0].name)
    pictures[1].rename(album / "deep" / pictures[1].name)
    put("mv", album, here.inbox)
    here.filed(here.inbox / "album" / pictures[0].name, contents[0], KINDS[2])
    here.filed(here.inbox / "album" / "deep" / pictures[1].name, contents[1], KINDS[2])
    put("cp", pictures[2], here.inbox / "album" / pictures[2].name)
    put("cp", pictures[3], here.inbox / "album" / "deep" / pictures[3].name)
    here.filed(here.inbox / "album" / pictures[2].name, contents[2], KINDS[2])
    here.filed(here.inbox / "album" / "deep" / pictures[3].name, contents[3], KINDS[2])


def test_a_folder_is_copied_in(here: Station) -> None:
    pictures = [here.picture(f"copied-{number}.png", KINDS[2]) for number in range(8)]
    contents = [picture.read_bytes() for picture in pictures]
    album = here.folder / "copied"
    album.mkdir()
    for picture in pictures:
        picture.rename(album / picture.name)
    put("cp", "-r", album, here.inbox)
    for picture, content in zip(pictures, contents, strict=True):
        here.filed(here.inbox / "copied" / picture.name, content, KINDS[2])
