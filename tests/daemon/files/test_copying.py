"""A copy has all that its original has, as far as the file system can hold it."""

from __future__ import annotations

import errno
import os
import struct
from collections import Counter
from pathlib import Path

import pytest

from daemon.files.copying import copy_into, create, reporting_to
from daemon.files.renaming import FileAt
from daemon.files.source import Identity
from daemon.filing.filer import Action, Status
from tests.filing_desk import Desk, failing


def test_a_copy_has_the_times_the_mode_and_the_attributes(far: Desk) -> None:
    path = far.put()
    path.chmod(0o640)
    try:
        os.setxattr(path, "user.rating", b"5")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error}")
    os.utime(path, ns=(0, 1_234_567_890_123_456_789))
    before = path.stat()
    filed = far.file_one(path)
    assert filed.destination is not None
    after = filed.destination.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert os.getxattr(filed.destination, "user.rating") == b"5"


def test_a_copy_survives_the_loss_of_its_attributes(far: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = far.put()
    os.setxattr(path, "user.rating", b"5")
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    for name, code in (("setxattr", errno.ENOTSUP), ("fchown", errno.EPERM), ("fchmod", errno.EPERM),
                       ("utime", errno.EPERM)):  # fmt: skip
        monkeypatch.setattr(os, name, failing(code))
    assert far.file_one(path).status is Status.FILED
    assert far.contents() == Counter([b"an image"])


@pytest.mark.parametrize("code", [errno.ENOTSUP, errno.EIO])
def test_a_copy_is_made_where_attributes_cannot_be_listed(
    far: Desk, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "listxattr", failing(code))
    assert far.file_one(far.put()).status is Status.FILED
    assert far.contents() == Counter([b"an image"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_copy_keeps_its_owner_where_that_is_allowed(far: Desk) -> None:
    path = far.put()
    os.chown(path, 12345, 12346)
    filed = far.file_one(path)
    assert filed.destination is not None
    assert (filed.destination.stat().st_uid, filed.destination.stat().st_gid) == (12345, 12346)


#: Of a capability set, version 2: what lets a program bind to low ports.
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set them")
@pytest.mark.parametrize("action", ["move", "copy"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("security.capability", CAPABILITY),
        ("security.ima", b"\x01" + bytes(20)),
        ("security.evm", b"\x02" + bytes(20)),
        ("security.selinux", b"system_u:object_r:public_content_rw_t:s0\0"),
        ("security.SMACK64", b"floor"),
        ("security.unheard_of", b"1"),
        ("trusted.overlay.metacopy", b""),
        ("trusted.overlay.redirect", b"/elsewhere"),
        ("trusted.gfid", bytes(16)),
    ],
)
def test_a_copy_gets_no_attribute_that_means_something_to_the_system(
    far: Desk, action: Action, name: str, value: bytes
) -> None:
    path = far.put()
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"this machine does not let it be set: {error}")
    filed = far.file_one(path, action=action)
    assert filed.destination is not None
    there = {each: os.getxattr(filed.destination, each) for each in os.listxattr(filed.destination)}
    assert there.get(name) != value


def test_a_copy_can_be_read_by_whom_an_access_list_names(far: Desk) -> None:
    path = far.put()
    entries = [(0x01, 6, -1), (0x02, 4, 12345), (0x04, 0, -1), (0x10, 4, -1), (0x20, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, may, who & 0xFFFFFFFF) for tag, may, who in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", acl)
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    filed = far.file_one(path)
    assert filed.destination is not None
    try:
        assert os.getxattr(filed.destination, "system.posix_acl_access") == acl
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip(f"no access lists there: {error}")


def test_a_large_copy_tells_that_it_gets_on_and_is_flushed_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a film on a slow share neither looks like a hanging daemon nor takes all its time at the end."""
    events: list[str] = []
    flush = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        events.append("flushed")
        flush(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    (tmp_path / "film.mov").write_bytes(bytes(70 << 20))
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        film = FileAt(folder, "film.mov")
        identity = Identity.from_stat(film.stat())
        target = create(FileAt(folder, "copy.mov"))
        with reporting_to(lambda: events.append("on")):
            copy_into(target, film, identity, None)
        os.close(target)
    finally:
        os.close(folder)
    assert events.count("on") == 70
    assert events.count("flushed") in range(2, 64), "as many as its disk is slow"
    assert events.index("flushed") == 7
