"""A tagging that is interrupted anywhere is finished at the next start, and no sidecar is lost."""

from __future__ import annotations

import os

import pytest

from daemon.files import renaming, tag_files
from daemon.files.renaming import FileAt
from daemon.filing.filer import Status
from daemon.filing.recovery import recover
from daemon.journal.history import Wanted
from daemon.journal.records import State
from models.xmp import tags
from models.xmp.tags import EMPTY, Tag, merge
from tests.filing_desk import Desk, names
from tests.models.xmp.sidecars import DARKTABLE, own_tag


@pytest.mark.parametrize("state", ["before", "part", "placed"])
def test_tagging_that_was_interrupted_is_finished_at_the_next_start(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    path, sidecar = desk.put(), desk.inbox / "cat.jpg.xmp"
    sidecar.write_bytes(DARKTABLE)
    step = {"before": "write", "part": "place", "placed": "finish"}[state]

    def killed(change: tag_files.TagChange) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tag_files, step, killed)
        if step != "finish":
            patched.setattr(tag_files, "finish", lambda change: None)
        with pytest.raises(KeyboardInterrupt):
            desk.file_one(path, action="tag")
    journal = desk.journal()
    assert recover(journal) == {State.DONE: 1}
    assert [row.label for row in journal.history(Wanted(states=[State.DONE]))] == ["cat"]
    journal.close()
    assert own_tag(sidecar) == Tag("cat")
    assert tags.remove(sidecar.read_bytes()) == DARKTABLE
    assert names(desk.inbox) == {"cat.jpg", "cat.jpg.xmp"}
    assert desk.file_one(path, action="tag").status is Status.ALREADY


@pytest.mark.parametrize("there", [None, DARKTABLE, merge(DARKTABLE, Tag("wolf", 0.5, "m"))])
@pytest.mark.parametrize("content", [b"", b"<?xml ve", None])
def test_sidecar_that_was_half_written_is_made_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, content: bytes | None, there: bytes | None
) -> None:
    path = desk.put()
    if there is not None:
        (desk.inbox / "cat.jpg.xmp").write_bytes(there)

    def killed(descriptor: int, whole: bytes) -> None:
        os.write(descriptor, whole if content is None else content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tag_files, "write_all", killed)
        patched.setattr(tag_files, "finish", lambda change: None)
        with pytest.raises(KeyboardInterrupt):
            desk.file_one(path, action="tag")
    journal = desk.journal()
    recover(journal)
    journal.close()
    assert own_tag(desk.inbox / "cat.jpg.xmp") == Tag("cat")
    assert tags.remove((desk.inbox / "cat.jpg.xmp").read_bytes()) == (EMPTY if there is None else DARKTABLE)
    assert names(desk.inbox) == {"cat.jpg", "cat.jpg.xmp"}


@pytest.mark.parametrize("newer", [DARKTABLE.replace(b"sea", b"sun"), b"no XMP"])
def test_newer_sidecar_of_another_program_comes_back_after_a_kill(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, newer: bytes
) -> None:
    """It had been exchanged for ours, and was not yet looked at."""
    path, sidecar = desk.put(), desk.inbox / "cat.jpg.xmp"
    sidecar.write_bytes(merge(DARKTABLE, Tag("wolf")))
    exchange = renaming.exchange

    def killed(one: FileAt, other: FileAt) -> None:
        sidecar.write_bytes(newer)
        exchange(one, other)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(renaming, "exchange", killed)
        patched.setattr(tag_files, "finish", lambda change: None)
        with pytest.raises(KeyboardInterrupt):
            desk.file_one(path, action="tag")
    journal = desk.journal()
    recover(journal)
    journal.close()
    assert newer in (sidecar.read_bytes(), tags.remove(sidecar.read_bytes()) if b"sun" in newer else b"")
    assert names(desk.inbox) == {"cat.jpg", "cat.jpg.xmp"}
