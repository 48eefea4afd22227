from __future__ import annotations

from pathlib import Path

import pytest

from daemon.files import mounts
from daemon.files.mounts import is_remote, kind_of, remote_kind

TABLE = rb"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
40 27 0:50 / /srv/photos rw,nosuid shared:7 - nfs4 nas:/photos rw,vers=4.2
41 40 0:51 / /srv/photos/local rw - ext4 /dev/sdb1 rw
42 27 0:52 / /srv/with\040space\134and\011tab rw - cifs //nas/share rw
43 27 0:53 / /home/a/gdrive rw - fuse.rclone gdrive: rw
44 27 0:54 / /media/usb rw - fuseblk /dev/sdc1 rw
45 27 0:55 / /mnt/stacked rw - ext4 /dev/sdd1 rw
46 27 0:56 / /mnt/stacked rw - 9p host rw
a broken line
47 27 0:57 / /mnt/no-separator rw ext4 /dev/sde1 rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/a/inbox", "ext4"),
        ("/", "ext4"),
        ("/srv/photos", "nfs4"),
        ("/srv/photos/2024/new", "nfs4"),
        ("/srv/photos2", "ext4"),
        ("/srv/photos/local/inbox", "ext4"),
        ("/srv/with space\\and\ttab/in", "cifs"),
        ("/home/a/gdrive/in", "fuse.rclone"),
        ("/media/usb/DCIM", "fuseblk"),
        ("/mnt/stacked/in", "9p"),
        ("/mnt/no-separator/in", "ext4"),
        ("/caf\udce9", "ext4"),
    ],
)
def test_the_deepest_and_latest_mount_has_the_path(path: str, kind: str) -> None:
    assert kind_of(path, TABLE) == kind


def test_a_table_without_a_place_for_the_path() -> None:
    assert kind_of("/inbox", b"40 27 0:50 / /srv rw - nfs4 nas:/ rw\n") is None


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "vboxsf", "virtiofs", "fuse", "fuse.sshfs"])
def test_kinds_without_events_from_other_hosts(kind: str) -> None:
    assert is_remote(kind)


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "vfat", "exfat", "fuseblk", "fusectl"]
)
def test_kinds_of_this_machine(kind: str) -> None:
    assert not is_remote(kind)


def test_a_link_is_judged_by_where_it_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "inbox").symlink_to("share")
    table = tmp_path / "mountinfo"
    table.write_bytes(b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / %s rw - nfs4 b rw\n" % bytes(tmp_path / "share"))
    monkeypatch.setattr(mounts, "MOUNTINFO", table)
    assert remote_kind(str(tmp_path / "inbox")) == "nfs4"
    assert remote_kind(str(tmp_path)) is None


def test_this_machine_has_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kind_of("/proc/self", mounts.MOUNTINFO.read_bytes()) == "proc"
    monkeypatch.setattr(mounts, "MOUNTINFO", tmp_path / "none")
    assert remote_kind("/") is None
