"""What a folder's file system can do, as ``doctor`` tries it out."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from daemon.commands import probes
from daemon.commands.probes import event_findings, folder_findings, limit_findings
from tests.daemon.commands.findings import raising, wrongs


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("inbox", "sorted"):
        (tmp_path / name).mkdir()


@pytest.mark.parametrize(
    ("code", "why", "advice"),
    [
        (errno.EACCES, " as this user (Permission denied)", "chown USER"),
        (errno.EROFS, " (Read-only file system)", "mount it for writing"),
        (errno.ENOSPC, " (No space left on device)", "make room"),
        (errno.EIO, " (Input/output error)", "dmesg"),
    ],
    ids=["not allowed", "read-only", "full", "broken"],
)
def test_a_folder_that_cannot_be_written(
    code: int, why: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "sync_folder", raising(code))
    (finding,) = folder_findings("output", tmp_path / "sorted")
    assert (finding.state, finding.text) == ("wrong", f"{tmp_path / 'sorted'} cannot be written{why}")
    assert advice in (finding.advice or "")
    assert [*Path("sorted").iterdir()] == []


def test_a_file_system_without_rename_or_links_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "rename_noreplace", raising(errno.EINVAL))
    monkeypatch.setattr(probes, "link", raising(errno.EPERM))
    folder = tmp_path / "sorted"
    assert wrongs(folder_findings("output", folder)) == []
    assert [finding.state for finding in folder_findings("output", folder)].count("note") == 2
    (text,) = wrongs(folder_findings("inbox", folder, links=True))
    assert "no hard links" in text
    assert [*Path("sorted").iterdir()] == []


def test_little_room_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)

    def little(free: int, files: int) -> None:
        fields = list(real)
        fields[1], fields[4], fields[5], fields[7] = 4096, free >> 12, 1 << 20, files
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields + [0]))  # noqa: RUF005

    little(100 << 20, 1 << 20)
    assert any("100 MB left" in text for text in wrongs(folder_findings("output", tmp_path)))
    little(100 << 30, 12)
    assert any("room for 12 more files" in text for text in wrongs(folder_findings("output", tmp_path)))
    little(100 << 30, 1 << 20)
    assert wrongs(folder_findings("output", tmp_path)) == []


def test_events_are_heard_where_they_come(tmp_path: Path) -> None:
    (finding,) = event_findings(tmp_path / "inbox", poll=False)
    assert finding.state == "fine"


def test_a_folder_without_events_is_said_to_need_polling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "hears", lambda _: False)
    (finding,) = event_findings(tmp_path, poll=False)
    assert (finding.state, "poll = true" in (finding.advice or "")) == ("wrong", True)
    monkeypatch.setattr(probes, "hears", raising(errno.ENOSPC))
    (finding,) = event_findings(tmp_path, poll=False)
    assert "max_user_watches" in (finding.advice or "")
    monkeypatch.setattr(probes, "remote_kind", lambda _: "nfs4")
    (finding,) = event_findings(tmp_path, poll=False)
    assert (finding.state, "nfs4" in finding.text) == ("note", True)


def test_limits_are_held_against_the_folders_there_are(tmp_path: Path) -> None:
    limits = tmp_path / "limits"
    limits.mkdir()
    (limits / "max_user_watches").write_text("8\n")
    (limits / "max_queued_events").write_text("16384\n")
    inbox = tmp_path / "inbox"
    assert wrongs(limit_findings([inbox], recursive=True, limits=limits)) == []
    for number in range(5):
        (inbox / str(number)).mkdir()
    assert wrongs(limit_findings([inbox], recursive=True, limits=limits)) == [
        "6 folders are to be watched, and 8 may be"
    ]
    assert wrongs(limit_findings([inbox], recursive=False, limits=limits)) == []
    (limits / "max_queued_events").write_text("100\n")
    assert [finding.state for finding in limit_findings([inbox], recursive=False, limits=limits)] == ["fine", "note"]
    assert wrongs(limit_findings([inbox], recursive=True, limits=tmp_path / "none")) == []


def test_times_that_are_not_kept_are_worth_knowing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "utime", raising(errno.EPERM))
    found = list(folder_findings("output", tmp_path / "sorted"))
    assert [each.text for each in found if each.state == "note"] == [
        f"files in {tmp_path}/sorted do not keep their times (Operation not permitted): it is mounted for another user"
    ]
    assert wrongs(found) == []
