"""A share whose server stops: the inbox beside it is filed meanwhile, and the share once its server goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pictures import KINDS, draw
from tests.processes import daemon, run, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """What serves ``share``."""
    if shutil.which("bindfs") is None:
        pytest.skip("needs bindfs")
    for name in ("behind", "share", "near"):
        (tmp_path / name).mkdir()
    # Nothing is to be answered from the kernel's memory.
    options = "attr_timeout=0,entry_timeout=0,negative_timeout=0"
    command = ["bindfs", "-f", "-o", options, str(tmp_path / "behind"), str(tmp_path / "share")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: (tmp_path / "share").is_mount() or process.poll() is not None, "the mount")
            if process.poll() is not None:
                pytest.skip("nothing can be mounted here by FUSE")
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            subprocess.run(["umount", "-l", str(tmp_path / "share")], check=False)
            process.terminate()


def test_the_inbox_beside_a_share_whose_server_stops_is_filed(
    tmp_path: Path, server: subprocess.Popen[bytes], store: object
) -> None:
    share, near = tmp_path / "share", tmp_path / "near"
    filed = tmp_path / "sorted"
    with daemon(tmp_path, "--watch", str(share), "--watch", str(near), "--settle-seconds", "0.2") as running:
        draw(KINDS[0], 1).save(share / "a.png")
        running.wait_until_said("a.png")  # in the midst of a move it would wait for the server
        server.send_signal(signal.SIGSTOP)
        running.wait_until_said("its server or drive does not answer")
        for name in ("b.png", "c.png"):
            draw(KINDS[1], 2).save(tmp_path / name)
            (tmp_path / name).rename(near / name)
            wait_for(lambda name=name: list(filed.rglob(name)), f"{name} of the other inbox")  # type: ignore[misc]
        status = run("daemon", "status", "--output", str(filed), cwd=tmp_path)
        assert "MISSING: its server or drive does not answer" in status.stdout
        server.send_signal(signal.SIGCONT)
        draw(KINDS[0], 3).save(share / "d.png")
        running.wait_until_said("d.png")
        server.send_signal(signal.SIGSTOP)
        assert running.terminate() == 0, running.log()
        server.send_signal(signal.SIGCONT)
