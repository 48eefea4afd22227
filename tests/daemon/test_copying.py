"""A copy has all that its original has, as far as the file system can hold it."""

from __future__ import annotations

import errno
import os
from collections import Counter

import pytest

from daemon.filing import Status
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
    for name, code in (("setxattr", errno.ENOTSUP), ("fchown", errno.EPERM), ("fchmod", errno.EPERM)):
        monkeypatch.setattr(os, name, failing(code))
    assert far.file_one(path).status is Status.FILED
    assert far.contents() == Counter([b"an image"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_copy_keeps_its_owner_where_that_is_allowed(far: Desk) -> None:
    path = far.put()
    os.chown(path, 12345, 12346)
    filed = far.file_one(path)
    assert filed.destination is not None
    assert (filed.destination.stat().st_uid, filed.destination.stat().st_gid) == (12345, 12346)
