"""Publishing: which checkpoint a folder of runs means, and the pointer that says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import FILE_NAME, POINTER, load, publish, resolve, write
from models.errors import CheckpointError
from tests.models.small_checkpoints import small_checkpoint


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A checkpoints folder with one run, published."""
    digest = write(small_checkpoint(), tmp_path / "run-1" / FILE_NAME)
    publish(tmp_path / "run-1", digest, "2026-01-02T03:04:05+00:00")
    return tmp_path


def test_a_checkpoint_is_found_by_its_file_its_run_and_the_folder_of_runs(published: Path) -> None:
    file = published / "run-1" / FILE_NAME
    assert resolve(file) == resolve(published / "run-1") == resolve(published) == file
    assert load(file).digest == load(published / "run-1").digest == load(published).digest


def test_publishing_another_run_changes_what_the_folder_means(published: Path) -> None:
    digest = write(small_checkpoint(temperature=2.0), published / "run-2" / FILE_NAME)
    assert load(published).metadata.temperature == 1.5
    publish(published / "run-2", digest, "2026-02-03T04:05:06+00:00")
    assert load(published).digest == digest
    assert json.loads((published / POINTER).read_text())["published"] == "2026-02-03T04:05:06+00:00"
    assert sorted(each.name for each in published.iterdir()) == [POINTER, "run-1", "run-2"]


def test_nothing_is_published_in_an_empty_folder(tmp_path: Path) -> None:
    assert checkpoints.read_pointer(tmp_path) is None
    for find in (resolve, load):
        with pytest.raises(CheckpointError, match="nothing is published in .*: make a checkpoint"):
            find(tmp_path)
        with pytest.raises(CheckpointError, match="there is no checkpoint"):
            find(tmp_path / "missing")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"{",
        b"[]",
        b"null",
        b'{"run": "run-1"}',
        b'{"run": "run-1", "sha256": "short"}',
        b'{"run": 1, "sha256": "' + b"a" * 64 + b'"}',
        b"x" * (1 << 17),
        *(
            json.dumps({"run": run, "sha256": "a" * 64}).encode()
            for run in ("../x", "run-1/../..", "/etc", "..", ".", "", "run-1/", "a\0b", "\ud800", "x" * 256)
        ),
    ],
)
def test_a_damaged_pointer_is_refused_with_what_to_do(published: Path, content: bytes) -> None:
    (published / POINTER).write_bytes(content)
    for find in (checkpoints.read_pointer, resolve, load):
        with pytest.raises(CheckpointError, match=r"current.json is damaged: publish again"):
            find(published)


def test_a_pointer_that_is_no_file_is_refused(published: Path) -> None:
    (published / POINTER).unlink()
    (published / POINTER).mkdir()
    with pytest.raises(CheckpointError, match="current.json"):
        load(published)


def test_a_pointer_at_a_run_that_was_deleted_is_refused(published: Path) -> None:
    (published / "run-1").rename(published / "elsewhere")
    with pytest.raises(CheckpointError, match="names the run run-1, which does not exist"):
        resolve(published)
    with pytest.raises(CheckpointError, match="there is no checkpoint .*run-1"):
        load(published)


def test_the_published_checkpoint_is_the_very_file_that_was_published(published: Path) -> None:
    file = published / "run-1" / FILE_NAME
    file.unlink()
    digest = write(small_checkpoint(temperature=3.0), file)
    with pytest.raises(CheckpointError, match="is not the file that was published") as raised:
        load(published)
    assert digest[:12] in str(raised.value)
    assert load(published / "run-1").digest == digest


def test_a_pointer_of_a_later_version_may_say_more(published: Path) -> None:
    pointer = json.loads((published / POINTER).read_text())
    (published / POINTER).write_text(json.dumps({**pointer, "previous": "run-0"}))
    assert load(published).metadata.mode == "one+two"
