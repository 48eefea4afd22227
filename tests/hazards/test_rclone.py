"""A share that rclone mounts: it knows no hard links, no rename that refuses to replace and no attributes.

What is written there is uploaded seconds later, and is stamped anew then.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from daemon.filing.filer import Action, Status
from daemon.filing.undo import undo
from daemon.journal.journal import read_history
from tests.filing_desk import Desk, images
from tests.hazards.servers import needs, smb
from tests.processes import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")]


class Share(NamedTuple):
    """Where a share is mounted, and the folder of the server that it stands for."""

    mounted: Path
    behind: Path


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Share]:
    needs("rclone", "smbd", "smbclient")
    made = Share(tmp_path / "mounted", tmp_path / "behind")
    for folder in (*made, tmp_path / "server"):
        folder.mkdir()
    with smb(tmp_path / "server", made.behind) as port:
        remote = f":smb,host=127.0.0.1,port={port},user=guest:inbox"
        options = ["--vfs-cache-mode", "full", "--dir-cache-time", "1s", "--vfs-write-back", "1s"]
        places = ["--config", str(tmp_path / "rclone.conf"), "--cache-dir", str(tmp_path / "cache")]
        command = ["rclone", "mount", remote, str(made.mounted), *options, *places]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                wait_for(lambda: made.mounted.is_mount() or process.poll() is not None, "the mount")
                if process.poll() is not None:
                    pytest.skip("nothing can be mounted here by FUSE")
                yield made
            finally:
                subprocess.run(["umount", "-l", str(made.mounted)], check=False)
                process.terminate()


@pytest.fixture(params=["inbox", "output", "both"])
def desk(request: pytest.FixtureRequest, share: Share, tmp_path: Path) -> Desk:
    """What is named lies on the share."""
    inbox = (tmp_path if request.param == "output" else share.mounted) / "inbox"
    output = (tmp_path if request.param == "inbox" else share.mounted) / "sorted"
    inbox.mkdir()
    return Desk(inbox, output, tmp_path / "journal.sqlite")


@pytest.mark.parametrize("action", ["move", "copy"])
def test_twenty_pictures_are_filed_and_brought_back(desk: Desk, share: Share, action: Action) -> None:
    content = {f"{number}.jpg": os.urandom(200_000 + number) for number in range(20)}
    bring(content, desk.inbox, share)
    filed = desk.file([desk.decide(path) for path in images(desk.inbox)], action=action)
    assert {(each.status, each.error) for each in filed} == {(Status.FILED, None)}
    wait_for(lambda: held(desk.output / "cat", share) == content, "what was filed is uploaded")
    assert held(desk.inbox, share) == ({} if action == "move" else content)
    journal = desk.journal()

    def undone() -> set[Status]:
        return {each.status for each in undo(journal, list(read_history(desk.journal_path)))}

    wait_for(lambda: undone() <= {Status.UNDONE, Status.ALREADY}, "all is stamped and brought back")
    journal.close()
    wait_for(lambda: held(desk.inbox, share) == content, "what was brought back is uploaded")
    assert held(desk.output / "cat", share) == {}


def bring(content: Mapping[str, bytes], inbox: Path, share: Share) -> None:
    """Let pictures come to the inbox; to one on the share, from elsewhere."""
    wait_for(lambda: behind(inbox, share).is_dir(), "the inbox is there")
    for name, written in content.items():
        (behind(inbox, share) / name).write_bytes(written)
    wait_for(lambda: len(list(inbox.glob("*.jpg"))) == len(content), "the pictures are seen")


def behind(folder: Path, share: Share) -> Path:
    """A folder as the server sees it; itself, when it is not on the share."""
    return share.behind / folder.relative_to(share.mounted) if folder.is_relative_to(share.mounted) else folder


def held(folder: Path, share: Share) -> dict[str, bytes]:
    """The pictures that are in a folder, on the server where it is on the share."""
    return {path.name: path.read_bytes() for path in behind(folder, share).glob("*.jpg")}
