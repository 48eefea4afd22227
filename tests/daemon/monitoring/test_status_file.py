"""A file that is written anew: in one step, or with one complaint."""

from __future__ import annotations

from pathlib import Path

from daemon.monitoring.status_file import StatusFile


def test_a_file_that_cannot_be_written_is_complained_of_once(tmp_path: Path, logged: list[str]) -> None:
    (tmp_path / "file").touch()
    written = StatusFile(tmp_path / "file" / "status.json")
    written.write("x")
    written.write("y")
    assert len(logged) == 1
    assert "status.json cannot be written" in logged[0]


def test_a_file_is_replaced_in_one_step_and_nothing_is_left(tmp_path: Path) -> None:
    written = StatusFile(tmp_path / "new" / "file", 0o644)
    written.write("a")
    written.write("bb")
    assert (tmp_path / "new" / "file").read_text() == "bb"
    assert (tmp_path / "new" / "file").stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["file"]
    written.remove()
    written.remove()
    assert list((tmp_path / "new").iterdir()) == []
