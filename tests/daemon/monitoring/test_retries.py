"""What is said of images that cannot be filed, and when they are tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.filing.filer import Status
from daemon.journal.journal import Journal, JournalBusy
from daemon.monitoring.retries import Retries
from tests.filing_desk import make_desk


@pytest.fixture
def large(tmp_path: Path) -> list[Path]:
    """Images that stay in the inbox for as long as the disk is full."""
    paths = [tmp_path / f"large{number}.png" for number in range(3)]
    for path in paths:
        path.touch()
    return paths


def full(path: Path) -> str:
    return f"{str(path)!r} cannot be filed now: No space left on device."


def locked(path: Path) -> str:
    return f"[Errno 13] Permission denied: '{path}'"


def test_a_spell_is_one_error_however_many_images_fail_and_small_ones_do_not_end_it(
    large: list[Path], tmp_path: Path, logged: list[str]
) -> None:
    retries = Retries()
    for _ in range(3):
        for path in large:
            retries.failed(path, full(path))
            retries.filed(tmp_path / "small.png")
    assert logged == [
        f"{full(large[0])} It stays in the inbox and is tried again.",
        full(large[1]),
        full(large[2]),
    ]
    logged.clear()
    for path in large[:2]:
        retries.filed(path)
    assert logged == []
    retries.filed(large[2])
    assert logged == ["filing works again"]
    retries.filed(tmp_path / "small.png")
    retries.failed(large[0], full(large[0]))
    assert logged[1:] == [f"{full(large[0])} It stays in the inbox and is tried again."]


def test_an_image_that_is_taken_away_or_refused_is_waited_for_no_more(large: list[Path], logged: list[str]) -> None:
    retries = Retries()
    for path in large:
        retries.failed(path, full(path))
    large[0].unlink()
    retries.over(large[1])
    logged.clear()
    retries.filed(large[2].with_name("small.png"))
    assert logged == []
    large[2].unlink()
    retries.filed(large[2].with_name("small.png"))
    assert logged == ["filing works again"]


def test_an_image_that_never_gets_on_silences_no_other_trouble(large: list[Path], logged: list[str]) -> None:
    retries = Retries()
    retries.failed(large[0], locked(large[0]))
    for _ in range(2):
        logged.clear()
        retries.failed(large[1], full(large[1]))
        assert logged == [f"{full(large[1])} It stays in the inbox and is tried again."]
        retries.filed(large[1])
        assert len(logged) == 1


def test_an_image_that_never_gets_on_keeps_none_in_mind_that_was_taken_away(
    large: list[Path], tmp_path: Path, logged: list[str]
) -> None:
    retries = Retries()
    retries.failed(large[0], locked(large[0]))
    retries.failed(large[1], full(large[1]))
    large[1].unlink()
    for _ in range(2):
        retries.filed(tmp_path / "small.png")
    logged.clear()
    retries.failed(large[2], full(large[2]))
    assert logged == [f"{full(large[2])} It stays in the inbox and is tried again."], "the disk was not full in between"


def test_an_image_is_tried_again_at_ever_longer_intervals(large: list[Path]) -> None:
    retries = Retries()
    delays = []
    for _ in range(8):
        retries.failed(large[0], full(large[0]))
        delays.append(retries.delay(large[0]))
    assert delays == [5, 10, 20, 40, 80, 160, 300, 300]
    retries.over(large[0])
    retries.failed(large[0], full(large[0]))
    assert retries.delay(large[0]) == 5


def test_an_image_that_waits_for_the_journal_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = make_desk(tmp_path)
    path = desk.put()

    def write(*_: object, **__: object) -> None:
        raise JournalBusy("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", write)
        filed = desk.file_one(path)
    assert filed.status is Status.RETRY
    why = "the journal cannot be written (database or disk is full)"
    assert filed.error == f"{str(path)!r} cannot be filed now: {why}."
    assert desk.file_one(path).status is Status.FILED
