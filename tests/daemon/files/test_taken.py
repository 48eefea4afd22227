"""When a picture was taken: what EXIF data says, wherever a format keeps it, and whatever else lies there."""

from __future__ import annotations

import os
import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from daemon.files.renaming import FileAt
from daemon.files.taken import exif_time, taken

_EXIF, _TIME, _ORIGINAL, _ZONE, _DIGITISED = 0x8769, 0x0132, 0x9003, 0x9011, 0x9004


def exif(original: str | None = None, zone: str | None = None, **more: str) -> Image.Exif:
    data = Image.Exif()
    inside = data.get_ifd(_EXIF)
    if original is not None:
        inside[_ORIGINAL] = original
    if zone is not None:
        inside[_ZONE] = zone
    if "digitised" in more:
        inside[_DIGITISED] = more["digitised"]
    if "time" in more:
        data[_TIME] = more["time"]
    data[_EXIF] = inside
    return data


def read(path: Path) -> datetime | None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return exif_time(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "avif"])
def test_each_format_that_keeps_it(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    noise = Image.effect_noise((300, 300), 90).convert("RGB")
    try:
        noise.save(path, exif=exif("2024:05:03 07:08:09", "+09:00"))
    except (OSError, KeyError):
        pytest.skip(f"Pillow writes no {ending} here")
    assert read(path) == datetime(2024, 5, 3, 7, 8, 9, tzinfo=timezone(timedelta(hours=9)))


@pytest.mark.parametrize(
    ("data", "time"),
    [
        (exif("2024:05:03 07:08:09"), datetime(2024, 5, 3, 7, 8, 9)),
        (exif("2024-05-03T07:08:60"), datetime(2024, 5, 3, 7, 8, 59)),
        (exif(digitised="2023:01:02 03:04:05"), datetime(2023, 1, 2, 3, 4, 5)),
        (exif(time="2022:01:02 03:04:05"), datetime(2022, 1, 2, 3, 4, 5)),
        (exif("0000:00:00 00:00:00"), None),
        (exif("2024:13:41 25:61:00"), None),
        (exif("    :  :     :  :  "), None),
        (exif("yesterday"), None),
        (exif(), None),
    ],
)
def test_what_the_data_says(tmp_path: Path, data: Image.Exif, time: datetime | None) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(path, exif=data)
    assert read(path) == time


def test_without_it_the_time_of_the_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(path)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        found = taken(FileAt(folder, "a.jpg"), 1_700_000_000 * 10**9)
        assert (found.time, found.is_exif) == (datetime.fromtimestamp(1_700_000_000, UTC), False)
        assert taken(FileAt(folder, "a.jpg"), 1 << 62).time.year >= 1970
    finally:
        os.close(folder)


@settings(max_examples=150)
@given(
    data=st.binary(max_size=400), order=st.sampled_from([b"II*\0", b"MM\0*"]), base=st.sampled_from([b"", b"xExif\0\0"])
)
def test_nonsense_says_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, order: bytes, base: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "nonsense"
    path.write_bytes(base + order + data)
    assert read(path) is None


def test_directories_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    entry = struct.pack("<HHII", _EXIF, 4, 1, 8)  # the directory itself
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 65535) + entry * 600)
    assert read(path) is None


def test_a_file_that_is_cut_short_meanwhile_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(path, exif=exif("2024:05:03 07:08:09"))
    reads, real = [], os.pread

    def cut(descriptor: int, size: int, offset: int) -> bytes:
        reads.append(offset)
        data = real(descriptor, size, offset)
        os.truncate(path, 0)
        return data

    monkeypatch.setattr(os, "pread", cut)
    assert read(path) is None
    assert len(reads) > 1
