"""Who holds a lock is read from the kernel's table, which a reader may get with lines missing."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from daemon.files import locks
from daemon.files.locks import holders

OTHERS = "".join(f"{number}: FLOCK  ADVISORY  WRITE 1 00:2d:{number} 0 EOF\n" for number in range(90))


class Torn:
    """The table of a busy machine: a line is left out now and then, where one before it has just vanished."""

    def __init__(self, line: str, missing: int) -> None:
        self.readings = [OTHERS] * missing + [OTHERS + line] * 9

    def read_text(self, **_: object) -> str:
        return self.readings.pop(0)


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_a_holder_is_found_whose_line_was_left_out_at_first(monkeypatch: pytest.MonkeyPatch, missing: int) -> None:
    line = f"91: FLOCK  ADVISORY  WRITE {os.getpid()} 00:2d:987654321 0 EOF\n"
    monkeypatch.setattr(locks, "LOCKS", Torn(line, missing))
    assert holders(987654321) == {os.geteuid()}
    monkeypatch.setattr(locks, "LOCKS", Torn(line, missing))
    assert holders(987654320) == set()


def test_a_lock_is_seen_as_long_as_it_is_held(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        inode = os.fstat(file.fileno()).st_ino
        assert holders(inode) == set()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert holders(inode) == {os.geteuid()}
    assert holders(inode) == set()
