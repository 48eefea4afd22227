"""What a service is granted stays with it, and lets it know of files that another user has open."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import environment

_NOBODY = "65534"
_GRANTED = ["--clear-groups", "--inh-caps", "-all,+lease", "--ambient-caps", "-all,+lease"]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may grant a capability"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not here"),
]


def as_nobody(code: str, *arguments: str | Path, granted: bool) -> str:
    """What a program prints that another user runs, with the capability of the unit or without."""
    options = _GRANTED if granted else ["--clear-groups"]
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        ["setpriv", "--reuid", _NOBODY, "--regid", _NOBODY, *options, *command],
        env=environment(),
        capture_output=True,
        text=True,
    )
    if granted and "setpriv: " in done.stderr:
        pytest.skip(done.stderr.strip())
    if "Permission denied" in done.stderr or "ModuleNotFoundError" in done.stderr:
        pytest.skip("another user cannot reach the program here")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_a_process_starts_has_no_capability() -> None:
    code = """
import subprocess
from daemon.files.capabilities import keep_from_children
keep_from_children()
for command in (["cat", "/proc/self/status"], ["cat", "/proc/%d/status" % __import__("os").getpid()]):
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    print(*(line.split()[1] for line in said if line.startswith(("CapEff", "CapPrm"))))
"""
    none, lease = f"{0:016x}", f"{1 << 28:016x}"
    assert as_nobody(code, granted=True).splitlines() == [f"{none} {none}", f"{lease} {lease}"]


@pytest.mark.parametrize("granted", [True, False])
def test_who_is_known_to_write_a_file_of_another_user(granted: bool) -> None:
    target = Path("/var/tmp", f"imagesortd-test-{os.getpid()}.jpg")
    code = "import sys; from daemon.files.writers import of_path; print(of_path(sys.argv[1]).value)"
    try:
        with target.open("wb") as file:
            file.write(b"half")
            file.flush()
            target.chmod(0o644)
            known = as_nobody(code, target, granted=granted)
        after = as_nobody(code, target, granted=granted)
    finally:
        target.unlink()
    assert (known, after) == (("present", "absent") if granted else ("unknown", "unknown"))
