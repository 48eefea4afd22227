"""The daemon under the unit's system call filter, which libseccomp sets up here as systemd would."""

from __future__ import annotations

import ctypes.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import config
from daemon.commands import unit
from daemon.journal.journal import Journal
from daemon.state import journal_path
from tests.daemon.learning.conftest import label_of
from tests.pictures import KINDS, files_below, save
from tests.processes import environment, run

#: Puts the calls named on standard input on the list of what is allowed, and becomes the command of its arguments.
CONFINE = """
import ctypes, ctypes.util, errno, os, sys
seccomp = ctypes.CDLL(ctypes.util.find_library("seccomp"), use_errno=True)
seccomp.seccomp_init.restype = ctypes.c_void_p
ERRNO, ALLOW, NO_NEW_PRIVS = 0x00050000, 0x7FFF0000, 3
rules = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(ERRNO | errno.EPERM)))
for name in sys.stdin.read().split():
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number >= 0:
        added = seccomp.seccomp_rule_add(rules, ctypes.c_uint32(ALLOW), ctypes.c_int(number), ctypes.c_uint(0))
        assert added == 0, name
assert seccomp.seccomp_load(rules) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""

pytestmark = [
    pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here"),
    pytest.mark.skipif(ctypes.util.find_library("seccomp") is None, reason="libseccomp is not here"),
]


def members(group: str) -> set[str]:
    """The system calls of one of systemd's groups, and of the groups in it; a call is a group of its own."""
    if not group.startswith("@"):
        return {group}
    done = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    names = [line.strip() for line in done.stdout.splitlines() if line.startswith("    ")]
    return set().union(*(members(name) for name in names if not name.startswith("#")))


def allowed() -> set[str]:
    """What the unit's SystemCallFilter= lines come to."""
    text = unit.render(config.load({}), {}, None, user=False, run_as="imagesortd")
    calls: set[str] = set()
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key != "SystemCallFilter":
            continue
        named = set().union(*(members(word) for word in value.removeprefix("~").split()))
        calls = calls - named if value.startswith("~") else calls | named
    # systemd adds what it needs itself to start the process.
    return calls | {"execve"}


def confined(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CONFINE, *command],
        input="\n".join(allowed()),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )


def test_the_filter_bites(tmp_path: Path) -> None:
    code = "import ctypes; print(ctypes.CDLL(None).ptrace(0, 0, 0, 0))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "0\n"
    assert confined([sys.executable, "-c", code], tmp_path).stdout == "-1\n"


def test_a_confined_daemon_files_quarantines_and_tells(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, kind in enumerate(KINDS):
        save(kind, number, inbox / f"{number}.png")
    (inbox / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and then nothing that helps" * 10)
    os.utime(inbox / "broken.jpg", (1e9, 1e9))
    told = tmp_path / "told"
    command = [sys.executable, "-m", "daemon", "--once", "--on-filed", f"sh -c {shlex.quote(f'cat >> {told}')}"]
    done = confined(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "CRITICAL" not in done.stderr
    assert list(inbox.iterdir()) == []
    filed = [name for names in files_below(tmp_path / "sorted").values() for name in names]
    assert {f"{number}.png" for number in range(len(KINDS))} <= set(filed)
    assert (tmp_path / "sorted" / "quarantine" / "truncated" / "broken.jpg").exists()
    assert len(told.read_text().splitlines()) == len(KINDS) + 1


@pytest.mark.timeout(600)
def test_a_confined_lesson_is_published(tmp_path: Path) -> None:
    for kind in ("stripes", "fog"):
        for seed in range(10):
            save(kind, seed, tmp_path / "data" / kind / f"{seed}.png")
    fitting = ("fit", "--data-dir", "data", "--mode", "efficientnet_lite0", "--epochs", "2")
    done = run("trainer", *fitting, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    discs = [save("discs", seed, tmp_path / "sorted" / "discs" / f"{seed}.png") for seed in range(12)]
    journal = Journal(journal_path(tmp_path / "state", tmp_path / "sorted"))
    journal.write([], labels=[label_of(path, "discs") for path in discs])
    journal.close()
    done = confined([sys.executable, "-m", "daemon", "learn", "--state-dir", "state", "--output", "sorted"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "learned from 12 labels: run " in done.stdout
