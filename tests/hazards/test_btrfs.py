"""Btrfs: renames and links end at a subvolume, and a folder in the inbox may be one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.filing.filer import Action, Status
from daemon.filing.undo import undo
from daemon.journal.journal import read_history
from daemon.watching.skipped import survey
from daemon.watching.watcher import InboxWatcher
from tests.filing_desk import Desk, images
from tests.pictures import KINDS, save
from tests.processes import opened, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("mkfs.btrfs", "btrfs", "losetup"))),
        reason="needs root and btrfs-progs",
    ),
]


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Path]:
    image, folder = tmp_path / "image", tmp_path / "drive"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    folder.mkdir()
    try:
        call("mkfs.btrfs", "-q", str(image))
        call("mount", "-o", "loop", str(image), str(folder))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no Btrfs can be mounted here: {error.stderr}")
    try:
        yield folder
    finally:
        call("umount", str(folder))


def call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def subvolume(path: Path) -> Path:
    call("btrfs", "subvolume", "create", str(path))
    return path


@pytest.fixture(params=["one subvolume", "two"])
def desk(request: pytest.FixtureRequest, drive: Path, tmp_path: Path) -> Desk:
    inbox = subvolume(drive / "inbox")
    output = inbox.parent / "sorted"
    if request.param == "two":
        subvolume(output)
        assert output.stat().st_dev != inbox.stat().st_dev
    else:
        output = inbox / "sorted"
    return Desk(inbox, output, tmp_path / "journal.sqlite")


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_twenty_pictures_are_filed_and_brought_back(desk: Desk, action: Action) -> None:
    content = {f"{number}.jpg": os.urandom(200_000 + number) for number in range(20)}
    for name, written in content.items():
        desk.put(name, written)
    filed = desk.file([desk.decide(path) for path in images(desk.inbox) if path.parent == desk.inbox], action=action)
    assert {each.status for each in filed} == {Status.FILED}
    assert {name: (desk.output / "cat" / name).read_bytes() for name in content} == content
    left = {path.name for path in desk.inbox.glob("*.jpg")}
    assert left == (set() if action == "move" else set(content))
    rows = list(read_history(desk.journal_path))
    assert len(rows) == 20
    journal = desk.journal()
    list(undo(journal, rows))
    journal.close()
    assert {path.name: path.read_bytes() for path in desk.inbox.glob("*.jpg")} == content
    assert list((desk.output / "cat").glob("*.jpg")) == []


def test_a_subvolume_inside_the_inbox_is_named_and_a_setting_files_it(
    drive: Path, tmp_path: Path, store: object
) -> None:
    inbox = subvolume(drive / "inbox")
    picture = save(KINDS[0], 1, subvolume(inbox / "camera") / "a.png")
    content = picture.read_bytes()
    sentence = (
        f"{inbox / 'camera'} is on another file system, and is not looked into: cross_mounts = true files what is in it"
    )
    assert survey(inbox, recursive=True, excluded=[]).not_entered == [sentence]
    arguments = ("watch", "--watch", str(inbox), "--threshold", "0", "--once")
    passed_over = run("daemon", *arguments, cwd=tmp_path)
    assert sentence in passed_over.stderr
    assert picture.read_bytes() == content
    (tmp_path / "config.toml").write_text("cross_mounts = true\n")
    filed = run("daemon", *arguments, cwd=tmp_path)
    assert filed.returncode == 0, filed.stderr
    assert not picture.exists()
    assert [path.read_bytes() for path in (tmp_path / "sorted").rglob("*.png")] == [content]


def test_a_walk_that_is_given_up_closes_the_subvolume(drive: Path) -> None:
    inbox = subvolume(drive / "inbox")
    camera = subvolume(inbox / "camera")
    for number in range(100):
        (camera / f"{number}.jpg").write_bytes(b"x")
    before = opened()
    watcher = InboxWatcher([inbox], settle_seconds=0.01, backlog=4, cross_mounts=True)
    watcher.start()
    assert watcher.ready(10.0, 4)
    watcher.stop()
    assert opened() <= before
