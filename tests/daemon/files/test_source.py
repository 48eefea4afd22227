from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from daemon.files.source import Identity, NotAFile, SourceChanged, SourceGone, SourceUnreadable, open_source
from models.errors import ImageError
from tests.filing_desk import bound_by_modes


def test_a_file_is_read_once_and_known_by_identity_and_digest(tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(b"x" * 3_000_000)
    source = open_source(path, max_bytes=3_000_000)
    path.write_bytes(b"other")
    assert source.data == b"x" * 3_000_000
    assert source.sha256 == hashlib.sha256(source.data).hexdigest()
    assert source.identity.size == 3_000_000
    assert source.identity != Identity.from_stat(path.stat())


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    source = open_source(path, max_bytes=1000)
    with pytest.raises(ImageError) as caught:
        _ = source.data
    assert caught.value.reason == "too-large"
    assert source.sha256 is None


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert open_source(tmp_path / "empty.jpg", max_bytes=10).data == b""


def test_a_vanished_file_is_gone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "no.jpg", tmp_path / "no" / "no.jpg", tmp_path / "file" / "no.jpg"):
        with pytest.raises(SourceGone):
            open_source(path, max_bytes=10)


def test_nothing_but_a_regular_file_is_taken_and_nothing_blocks(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").touch()
    (tmp_path / "link.jpg").symlink_to("cat.jpg")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.jpg"))
    for kind in ("link", "folder", "fifo", "socket"):
        with pytest.raises(NotAFile):
            open_source(tmp_path / f"{kind}.jpg", max_bytes=10)


def test_a_file_without_permission_may_be_readable_later(tmp_path: Path) -> None:
    path = tmp_path / "secret.jpg"
    path.touch(0o000)
    with bound_by_modes(), pytest.raises(SourceUnreadable, match="Permission denied"):
        open_source(path, max_bytes=10)


@pytest.mark.parametrize("written", [b"", b"shorter", b"the same length!", b"something longer than before"])
def test_a_file_written_to_while_it_is_read_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bytes
) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(b"0123456789abcdef")
    os.utime(path, ns=(0, 0))
    read = os.read

    def read_while_written(descriptor: int, size: int) -> bytes:
        chunk = read(descriptor, size)
        path.write_bytes(written)
        return chunk

    monkeypatch.setattr(os, "read", read_while_written)
    with pytest.raises(SourceChanged):
        open_source(path, max_bytes=100)
