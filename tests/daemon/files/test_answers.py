"""Asking file systems that may not answer."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from daemon.files import mounts
from daemon.files.answers import NoAnswer, answers, in_time


def test_what_a_function_returns_and_raises_comes_through() -> None:
    assert in_time(lambda: 5) == 5
    for error in (ValueError("no"), TimeoutError("no")):

        def fail(error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error), match="no"):
            in_time(fail)


def test_nobody_waits_longer_than_he_wants() -> None:
    answer = threading.Event()
    with pytest.raises(NoAnswer):
        in_time(lambda: answer.wait(300), 0.05)
    answer.set()


def test_that_there_is_nothing_is_an_answer(tmp_path: Path) -> None:
    assert answers(tmp_path)
    assert answers(tmp_path / "missing")


def test_the_mounts_of_network_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "23 22 0:44 / /mnt/a\\040share rw shared:1 - nfs4 server:/a rw\n"
        "24 22 0:45 / /mnt/b rw - fuse.sshfs host: rw\n"
    )
    monkeypatch.setattr(mounts, "MOUNTINFO", table)
    assert mounts.remote_mounts() == ["/mnt/a share", "/mnt/b"]
    monkeypatch.setattr(mounts, "MOUNTINFO", tmp_path / "none")
    assert mounts.remote_mounts() == []
