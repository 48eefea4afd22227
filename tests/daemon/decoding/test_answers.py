"""What comes back from a decoder."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np

from daemon.decoding.decoder import Task
from daemon.files.source import Identity, NotAFile, SourceGone, SourceUnreadable
from models.decoding.images import Transform, decode
from tests.daemon.decoding.conftest import TRANSFORMS, Make, reason, task
from tests.pictures import save
from tests.processes import is_alive


def test_the_crops_are_those_of_decoding_here(make: Make, tmp_path: Path) -> None:
    names = ["a.png", "b.jpg", "c.webp", "d.gif", "e.bmp", "f.tiff", "g.avif"]
    paths = [save("discs", seed, tmp_path / name) for seed, name in enumerate(names)]
    decoders = make(2)
    for path, future in [(path, decoders.submit(task(path))) for path in paths]:
        decoded = future.result()
        assert decoded.source is not None
        assert decoded.crops is not None
        assert decoded.source.path == path
        assert decoded.source.identity == Identity.from_stat(path.stat())
        assert decoded.source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert decoded.source.content is None
        with path.open("rb") as file:
            for ours, theirs in zip(decode(file, TRANSFORMS), decoded.crops, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_what_is_wrong_with_an_image_comes_through(make: Make, picture: Path, tmp_path: Path) -> None:
    def written(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    whole = picture.read_bytes()
    decoders = make(2)
    cases = [
        ("empty", task(written("empty.jpg", b""))),
        ("not-an-image", task(written("text.jpg", b"no picture"))),
        ("truncated", task(written("cut.png", whole[:-300]))),
        ("corrupt", task(written("corrupt.png", whole[:29] + bytes(4) + whole[33:]))),
        ("too-large", task(picture, max_bytes=100)),
        ("too-large", task(picture, max_pixels=100)),
    ]
    for expected, each in cases:
        decoded = decoders.submit(each).result()
        assert reason(decoded) == expected
        assert decoded.error is not None
        assert str(decoded.error).endswith(".")
        assert decoded.source is not None
        assert decoded.source.identity == Identity.from_stat(each.path.stat())
        assert (decoded.source.sha256 is None) == (each.max_bytes == 100)
    assert len(decoders.pids()) == 3


def test_what_cannot_be_taken_is_said_by_kind(make: Make, picture: Path, tmp_path: Path) -> None:
    folder, link, fifo = (tmp_path / name for name in ("folder.jpg", "link.jpg", "fifo.jpg"))
    folder.mkdir()
    link.symlink_to(picture)
    os.mkfifo(fifo)
    cases: list[tuple[type[Exception], Path]] = [
        (SourceGone, tmp_path / "gone.jpg"),
        (NotAFile, folder),
        (NotAFile, link),
        (NotAFile, fifo),
        (NotAFile, Path("/dev/null")),
        (SourceUnreadable, Path("/proc/version")),  # it has more bytes than it says, and always will
        (SourceUnreadable, tmp_path / ("x" * 300)),
    ]
    decoders = make()
    for expected, path in cases:
        assert type(decoders.submit(task(path)).result().error) is expected


def test_names_of_any_bytes(make: Make, picture: Path, tmp_path: Path) -> None:
    decoders = make()
    for name in (os.fsdecode(b"\xff\xfe.png"), "new\nline.png", "한글.png", "x" * 251 + ".png"):
        path = tmp_path / name
        shutil.copy(picture, path)
        assert decoders.submit(task(path)).result().crops is not None


def test_larger_crops_than_a_decoder_has_room_for(make: Make, picture: Path) -> None:
    decoders = make()
    before = decoders.pids()
    huge = Transform(resize=2000, crop=2000, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1))
    decoded = decoders.submit(Task(path=picture, transforms=[huge], max_bytes=1 << 30, max_pixels=10**9)).result()
    assert decoded.crops is not None
    with picture.open("rb") as file:
        np.testing.assert_array_equal(decoded.crops[0], decode(file, [huge])[0])
    assert decoders.submit(task(picture)).result().crops is not None
    assert len(decoders.pids()) == 2
    assert decoders.pids()[0] == before[0]
    assert not is_alive(before[1])
