"""What is remembered of checkpoints that were tried."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from daemon.journal.journal import Journal
from daemon.reloading.checkpoint_history import CheckpointHistory
from daemon.reloading.checkpoint_source import CheckpointFile

#: More than are remembered.
_MANY = 120
_REMEMBERED = 100


@pytest.mark.parametrize("crash", [True, False])
def test_the_latest_rejections_are_remembered_and_not_all_there_ever_were(tmp_path: Path, *, crash: bool) -> None:
    location = tmp_path / "checkpoints"
    tried = [CheckpointFile(location / str(number), f"digest {number}", f"key {number}") for number in range(_MANY)]
    with closing(Journal(tmp_path / "journal.sqlite3")) as journal:
        for each in tried:
            history = CheckpointHistory(journal, location)  # a daemon that starts
            history.attempt(each)
            if not crash:
                history.reject(each, each.digest, "it failed")
                history.end_attempt()
        history = CheckpointHistory(journal, location)
    remembered = [history.rejection(each) is not None for each in tried]
    assert remembered == [False] * (_MANY - _REMEMBERED) + [True] * _REMEMBERED


def test_rejections_in_a_journal_of_before_still_count(tmp_path: Path) -> None:
    published = CheckpointFile(tmp_path / "checkpoints" / "run", "digest", "key")
    with closing(Journal(tmp_path / "journal.sqlite3")) as journal:
        journal.note(
            f"checkpoints {tmp_path}/checkpoints", '{"refused": {"key": {"digest": "digest", "why": "it failed"}}}'
        )
        rejection = CheckpointHistory(journal, tmp_path / "checkpoints").rejection(published)
    assert rejection is not None
    assert rejection.why == "it failed"
