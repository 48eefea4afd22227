"""A systemd of the test's own: the real one, as process 1 of name spaces of its own, with no unit but the daemon's.

And the one that it starts for somebody who has logged in, who has no right to anything but a home.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import ROOT, children, wait_for

INIT = Path("/lib/systemd/systemd")

#: Somebody the machine does not know otherwise, and what the test's folder is called in there.
USER, UID = "imagesortd", 64990
HOME = Path("/var/lib/home")

# The machine is there to be read; what is written goes to memory, or to the test's folder. No unit of the machine's is
# in reach of process 1: one of them would clean /tmp. Who has no rights can reach the program and the test's folder,
# wherever they lie.
_BOOT = f"""
set -e
mount --make-rprivate /
mount --bind /tmp /tmp
mount -t proc proc /proc
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for place in /run /etc/systemd/system /var/lib /var/cache /var/tmp; do mount -t tmpfs -o mode=755 tmpfs $place; done
mount --bind "$FOLDER/passwd" /etc/passwd
mount --bind "$FOLDER/group" /etc/group
mkdir -p /run/lock {HOME}
mount --bind "$FOLDER" {HOME}
for place in $SHOWN; do mkdir -p /run/shown$place; mount --bind $place /run/shown$place; done
for place in $CLOSED; do mount -t tmpfs -o mode=755 tmpfs $place; done
for place in $SHOWN; do mkdir -p $place; mount --bind /run/shown$place $place; done
for name in default sysinit basic shutdown multi-user umount; do
    printf '[Unit]\\nDefaultDependencies=no\\n' > /etc/systemd/system/$name.target
done
mount -o remount,bind,ro /
export container=test SYSTEMD_UNIT_PATH=/etc/systemd/system
exec "$INIT" --system --show-status=false --log-target=console --unit=default.target
"""

# What a log-in brings about, and Debian's user@.service says, but for PAM.
_SESSION = f"""
[Service]
Type=notify
User={UID}
RuntimeDirectory=user/{UID}
RuntimeDirectoryMode=0700
Environment=XDG_RUNTIME_DIR=/run/user/{UID}
ExecStart={INIT} --user --log-target=console
StandardError=append:{HOME}/session.log
Delegate=pids memory cpu
KillMode=mixed
"""


class Manager:
    """A running systemd; ``run`` runs a command beside it, as the one whose systemd it is."""

    def __init__(self, init: int, folder: Path, flags: Sequence[str] = (), inside: Sequence[str] = ()) -> None:
        """``init``: process 1. ``folder``: the test's, as it is called in there. ``flags``: that say whose it is, to
        systemctl and to the daemon. ``inside``: the words that another command is run by.
        """
        self.folder = folder
        self.flags = flags
        self._init = init
        self._inside = inside

    def run(self, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """A command, in its name spaces."""
        enter = ["nsenter", "--target", str(self._init), "--mount", "--pid", "--cgroup", "--uts", "--ipc"]
        return subprocess.run(
            [*enter, *self._inside, "env", f"--chdir={self.folder}", *command],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=check,
        )

    def write(self, path: str, text: str) -> None:
        """Make a file, and the folders it is in."""
        self.run("sh", "-c", 'mkdir -p "${1%/*}" && printf %s "$2" > "$1"', "sh", path, text, check=True)

    def systemctl(self, *words: str) -> str:
        """What systemctl says; it must succeed."""
        done = self.run("systemctl", *self.flags, *words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def show(self, name: str, unit: str = "imagesortd.service") -> str:
        """A property of a unit."""
        return self.systemctl("show", "--value", "--property", name, unit).strip()

    def log_in(self) -> Manager:
        """The systemd of somebody who logs in."""
        self.write("/etc/systemd/system/session.service", _SESSION)
        self.systemctl("daemon-reload")
        self.systemctl("start", "session.service")
        inside = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--bounding-set=-all"]
        inside += ["env", "--ignore-environment", f"PATH={os.environ['PATH']}", f"PYTHONPATH={ROOT}"]
        inside += [f"HOME={HOME}", f"XDG_RUNTIME_DIR=/run/user/{UID}"]
        return Manager(self._init, HOME, ["--user"], inside)


@contextmanager
def manager(folder: Path) -> Iterator[Manager]:
    """A running systemd, on a machine that has the user; skips where there can be none."""
    if os.geteuid() != 0 or not INIT.exists() or not all(map(shutil.which, ("unshare", "nsenter", "systemctl"))):
        pytest.skip("needs root, systemd, unshare and nsenter, to run a systemd of its own")
    for name, line in (("passwd", f"{USER}:x:{UID}:{UID}::{HOME}:/bin/false"), ("group", f"{USER}:x:{UID}:")):
        (folder / name).write_text(Path("/etc", name).read_text() + line + "\n")
    log = folder / "systemd.log"
    with own_group() as group, log.open("wb") as output:
        inside = ["unshare", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
        process = subprocess.Popen(
            ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *inside, "sh", "-c", _BOOT],
            env={**os.environ, "FOLDER": str(folder), "INIT": str(INIT), **_places(folder)},
            stdout=output,
            stderr=output,
        )
        try:
            made = _wait_until_up(process, folder)
            if made is None:
                pytest.skip(f"no systemd can be run here: {log.read_text()[-300:]}")
            yield made
        finally:
            process.kill()
            process.wait()


def _places(folder: Path) -> dict[str, str]:
    """The folders that not everybody may enter; what is to be seen in them: the program, its Python, the test's folder.

    The test's folder is always among it: what is bound in its place can be written to.
    """
    places = [Path(sys.base_prefix), Path(sys.prefix), ROOT, folder]
    closed = {around for place in places for around in place.parents if not around.stat().st_mode & 0o001}
    outermost = [around for around in closed if not closed & set(around.parents)]
    shown = [place for place in places if place == folder or set(outermost) & set(place.parents)]
    return {"CLOSED": " ".join(map(str, outermost)), "SHOWN": " ".join(map(str, shown))}


def _wait_until_up(process: subprocess.Popen[bytes], folder: Path) -> Manager | None:
    found: list[Manager] = []

    def is_up() -> bool:
        found[:] = [Manager(init, folder) for init in children(process.pid)]
        return process.poll() is not None or (
            bool(found) and found[0].run("systemctl", "is-system-running").stdout == "running\n"
        )

    wait_for(is_up, f"systemd runs: {(folder / 'systemd.log').read_text()}")
    return found[0] if process.poll() is None else None


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
