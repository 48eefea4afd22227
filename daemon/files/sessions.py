"""Let the session of a process come after others, where the kernel shares the processor out among sessions first.

See "The autogroup feature" in sched(7): niceness counts within a session only, and each of our child processes that
Ctrl-C must not reach has one of its own.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

#: Of the session, which still gets a tenth beside a busy one: somebody waits for what its processes do.
_NICENESS = 10


def come_after_others(pid: int | None = None) -> None:
    """Let the session of a process, this one if None, come after others, where the kernel knows of that."""
    with suppress(OSError):
        Path(f"/proc/{'self' if pid is None else pid}/autogroup").write_text(str(_NICENESS))
