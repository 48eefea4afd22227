"""What root makes for a service that runs as another user is that user's, or the service is shut out for ever."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.files.marker import MARKER
from daemon.filing.filer import Action, Filer
from daemon.filing.undo import undo
from daemon.journal.journal import Journal, read_history
from daemon.monitoring.status_file import StatusFile
from daemon.state import lock
from models.files.atomic import atomic_file
from models.files.ownership import make_file, make_folder
from models.weights.store import WeightsStore
from tests.filing_desk import Desk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")

SERVICE, GROUP = 12345, 12346


@pytest.fixture
def theirs(near: Desk) -> Iterator[Desk]:
    """A desk of a service that runs as another user; all that is there afterwards must be its own."""
    for folder in (near.output, near.journal_path.parent):
        folder.mkdir()
    for folder in (near.inbox, near.output, near.journal_path.parent):
        os.chown(folder, SERVICE, GROUP)
    yield near
    for root in (near.inbox, near.output, near.journal_path.parent):
        assert not [path for path in root.rglob("*") if owner(path) != (SERVICE, GROUP)]


def owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


def put(desk: Desk, name: str) -> Path:
    """An image that the service has been given, in a folder of its inbox."""
    path = desk.inbox / name
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(exist_ok=True)
        os.chown(folder, SERVICE, GROUP)
    path.write_bytes(b"an image")
    os.chown(path, SERVICE, GROUP)
    return path


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_filing_and_undoing(theirs: Desk, action: Action) -> None:
    """What `sort`, `resort`, `undo` and `retry` do, with folders that must be made, marked and made again."""
    journal = theirs.journal()
    image, torn = put(theirs, "holiday/deep/cat.jpg"), put(theirs, "holiday/deep/torn.jpg")
    decisions = [
        theirs.decide(image, "cat"),
        theirs.decide(torn, "quarantine/truncated", reason="truncated"),
    ]
    Filer(theirs.output, action=action, journal=journal).file(decisions)
    assert owner(theirs.output / "cat" / MARKER) == (SERVICE, GROUP)
    for path in [theirs.journal_path, *theirs.journal_path.parent.glob("*-*")]:
        assert owner(path) == (SERVICE, GROUP)
    if action == "move":
        (theirs.inbox / "holiday" / "deep").rmdir()
        (theirs.inbox / "holiday").rmdir()
    list(undo(journal, list(read_history(theirs.journal_path))))
    journal.close()
    assert sorted(path.name for path in image.parent.iterdir()) == ["cat.jpg", "torn.jpg"]


def test_an_output_that_is_made(theirs: Desk) -> None:
    """Its owner is that of the folder it is made in."""
    Filer(theirs.output / "far" / "sorted").file([theirs.decide(put(theirs, "a/b/cat.jpg"))])
    assert owner(theirs.output / "far" / "sorted" / "cat") == (SERVICE, GROUP)


def test_a_group_that_may_write_may_write_into_a_new_folder(theirs: Desk) -> None:
    theirs.output.chmod(0o2775)
    Filer(theirs.output).file([theirs.decide(put(theirs, "a/b/cat.jpg"))])
    assert stat.S_IMODE((theirs.output / "cat").stat().st_mode) == 0o2775


def test_what_is_another_s_already_stays_so(theirs: Desk) -> None:
    before = theirs.journal()
    before.write([])
    for path, user in ((theirs.output / "cat", 777), (theirs.output / "dog", SERVICE)):
        path.mkdir()
        os.chown(path, user, GROUP)
    Filer(theirs.output).file([theirs.decide(put(theirs, "a/b/cat.jpg"))])
    assert owner(theirs.output / "cat") == (777, GROUP)
    assert owner(theirs.output / "cat" / MARKER) == (777, GROUP)
    for path in (theirs.output / "cat" / MARKER, theirs.output / "cat"):
        os.chown(path, SERVICE, GROUP)


def test_journals_locks_and_status_files(theirs: Desk) -> None:
    state = theirs.journal_path.parent
    lock(state / "new", [theirs.inbox, theirs.output]).close()
    journal = Journal(state / "output" / "journal.sqlite")
    journal.note("key", "value")
    StatusFile(state / "output" / "status.json").write("{}")
    journal.close()
    assert (state / "output" / "status.json").read_text() == "{}"


def test_the_cache(theirs: Desk) -> None:
    root = theirs.journal_path.parent / "cache"
    store = WeightsStore(root)
    with store.locked("graph"), atomic_file(store.folder("graphs") / "a.onnx") as file:
        file.write(b"graph")
    assert (root / "graphs" / "a.onnx").read_bytes() == b"graph"


def test_nothing_is_given_away_that_was_there_before(theirs: Desk, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root's own")
    secret.chmod(0o600)
    link = theirs.output / "lock"
    link.symlink_to(secret)
    with pytest.raises(OSError, match="symbolic link"):
        os.close(make_file(link, 0o600))
    link.unlink()
    link.hardlink_to(secret)
    os.close(make_file(link, 0o600))
    assert owner(secret) == (0, 0)
    link.unlink()
    make_folder(theirs.output)
    with pytest.raises(FileExistsError):
        make_folder(secret)
