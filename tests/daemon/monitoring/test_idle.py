"""What an idle daemon does, as it really runs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from daemon.state import journal_path
from tests.pictures import save
from tests.processes import daemon, run, wait_for

Publish = Callable[..., str]


def test_an_idle_daemon_lets_a_late_sidecar_join_and_forgets_old_rows(tmp_path: Path, publish: Publish) -> None:
    publish(tmp_path / "checkpoints" / "run")
    inbox, output = tmp_path / "inbox", tmp_path / "sorted"
    inbox.mkdir()
    save("stripes", 1, inbox / "old.png")
    assert run("daemon", "--once", "--state-dir", "state", cwd=tmp_path).returncode == 0
    with sqlite3.connect(journal_path(tmp_path / "state", output)) as db:
        db.execute("UPDATE filings SET time = 0")
    db.close()
    save("stripes", 2, inbox / "new.png")
    assert run("daemon", "--once", "--state-dir", "state", cwd=tmp_path).returncode == 0
    (filed,) = output.glob("*/new.png")
    (inbox / "new.xmp").write_text("stars: 5")
    os.utime(inbox / "new.xmp", (1e9, 1e9))

    def remembered() -> list[tuple[str]]:
        with closing(sqlite3.connect(journal_path(tmp_path / "state", output))) as db:
            return db.execute("SELECT name FROM filings WHERE image_id IS NULL").fetchall()

    with daemon(tmp_path, "--state-dir", "state"):
        wait_for(filed.with_suffix(".xmp").exists, "the late sidecar has joined")
        wait_for(lambda: remembered() == [("new.png",)], "the old row is forgotten")
