"""A systemd of the test's own: the real one, as process 1 of name spaces of its own, with no unit but the daemon's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import ROOT, children, wait_for

INIT = Path("/lib/systemd/systemd")

# The machine is there to be read; what is written goes to memory, or to the test's folder. No unit of the machine's is
# in reach: one of them would clean /tmp.
_BOOT = """
set -e
mount --make-rprivate /
mount --bind /tmp /tmp
mount -t proc proc /proc
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for place in /run /etc/systemd/system /var/lib /var/cache /var/tmp; do mount -t tmpfs tmpfs $place; done
mount --bind "$FOLDER/passwd" /etc/passwd
mount --bind "$FOLDER/group" /etc/group
mkdir -p /run/lock
for name in default sysinit basic shutdown multi-user umount; do
    printf '[Unit]\\nDefaultDependencies=no\\n' > /etc/systemd/system/$name.target
done
mount -o remount,bind,ro /
export container=test SYSTEMD_UNIT_PATH=/etc/systemd/system
exec "$INIT" --system --show-status=false --log-target=console --unit=default.target
"""


class Manager:
    """systemd; ``run`` runs a command beside it, as root of the same machine."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self._process = process
        self._init = 0

    def wait_until_up(self) -> bool:
        """Whether it comes up; then commands can be run."""

        def found() -> bool:
            self._init = next(iter(children(self._process.pid)), 0)
            return self._process.poll() is not None or (
                self._init != 0 and self.run("systemctl", "is-system-running").stdout == "running\n"
            )

        wait_for(found, f"systemd runs: {(self.folder / 'systemd.log').read_text()}")
        return self._process.poll() is None

    def run(self, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """A command, in its name spaces."""
        inside = ["nsenter", "--target", str(self._init), "--mount", "--pid", "--cgroup", "--uts", "--ipc"]
        return subprocess.run(
            [*inside, f"--wd={self.folder}", *command],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=check,
        )

    def systemctl(self, *words: str) -> str:
        """What systemctl says; it must succeed."""
        done = self.run("systemctl", *words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def show(self, name: str, unit: str = "imagesortd.service") -> str:
        """A property of a unit."""
        return self.systemctl("show", "--value", "--property", name, unit).strip()


@contextmanager
def manager(folder: Path, user: str) -> Iterator[Manager]:
    """A running systemd, on a machine that has that user; skips where there can be none."""
    if os.geteuid() != 0 or not INIT.exists() or not all(map(shutil.which, ("unshare", "nsenter", "systemctl"))):
        pytest.skip("needs root, systemd, unshare and nsenter, to run a systemd of its own")
    for name, line in (("passwd", f"{user}:x:64990:64990::/nonexistent:/bin/false"), ("group", f"{user}:x:64990:")):
        (folder / name).write_text(Path("/etc", name).read_text() + line + "\n")
    with own_group() as group, (folder / "systemd.log").open("wb") as log:
        inside = ["unshare", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
        process = subprocess.Popen(
            ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *inside, "sh", "-c", _BOOT],
            env={**os.environ, "FOLDER": str(folder), "INIT": str(INIT)},
            stdout=log,
            stderr=log,
        )
        try:
            made = Manager(folder, process)
            if not made.wait_until_up():
                pytest.skip(f"no systemd can be run here: {(folder / 'systemd.log').read_text()[-300:]}")
            yield made
        finally:
            process.kill()
            process.wait()


@contextmanager
def own_group() -> Iterator[Path]:
    """A control group for systemd to be the root of."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"]
    if not roots:
        pytest.skip("there are no control groups (version 2) here")
    group = roots[0] / f"imagesortd-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield group
    finally:
        wait_for(lambda: _is_removed(group), "its control group is empty")


def _is_removed(group: Path) -> bool:
    for inside in sorted(group.rglob("*/"), reverse=True):
        _is_removed(inside)
    try:
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        group.rmdir()
    except OSError:
        return not group.exists()
    return True
