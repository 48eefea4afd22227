"""Tell processes apart, although the kernel reuses the ids of those that have ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


#: Tells this start of the machine from all others.
BOOT = _boot()


def process_began(pid: int) -> int | None:
    """Return when a running process began, in ticks since boot; None if there is none of that id."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # what is before is its name, which may hold anything
    return None if fields[0] in "ZX" else int(fields[19])


def oneself() -> dict[str, object]:
    """Describe this process for a mark file, to be compared by `is_another`."""
    pid = os.getpid()
    host = os.uname().nodename[:64]
    return {"boot": BOOT, "pid": pid, "began": process_began(pid), "user": os.geteuid(), "host": host}


def is_another(noted: Mapping[str, object]) -> bool:
    """Whether the process that noted this of itself is not this one, and certainly still there."""
    pid = noted.get("pid")
    if not BOOT or noted.get("boot") != BOOT or not isinstance(pid, int) or pid <= 0 or pid == os.getpid():
        return False
    now = process_began(pid)
    if now is not None:
        return now == noted.get("began")
    try:
        os.kill(pid, 0)
    except PermissionError:
        # One that this process may not look at, so of another user; where it was ours, another one has its id now.
        return noted.get("user") != os.geteuid()
    except (OSError, OverflowError):
        return False
    return False  # it has ended, and nobody has asked how
