"""Give up what a lesson does not need, then become it: ``python -m daemon.learning.confinement PARENT MEMORY WORD...``.

A lesson is a program of its own, since the daemon has threads, after whose fork nothing but an exec is safe. It ends
with the daemon, comes last at the processor and, by its niceness, at the disk, and is what the kernel ends first where
memory runs out. Inside the unit, which forbids most of these calls, the unit's own limits hold.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from daemon.files.sessions import come_after_others

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_NICENESS = 19
#: Each thread of BLAS has a buffer of 32 MiB, which counts against the memory whether it is used or not.
_THREADS, _MOST_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 4
#: More than that of decoders: images come before lessons.
_OOM_SCORE = 900


def main(arguments: list[str]) -> None:
    """Confine this process, the child of PARENT, to MEMORY bytes, and run the command in its place."""
    parent, memory, *command = arguments
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != int(parent):
        return  # it was gone before the kernel knew that we end with it
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    cores = len(os.sched_getaffinity(0))
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        cores = max(1, len(os.sched_getaffinity(0)) // 2)  # the others are for images alone
    come_after_others()
    for name in _THREADS:
        os.environ.setdefault(name, str(min(cores, _MOST_THREADS)))
    # As data: the address space also counts what is only reserved, or mapped from libraries.
    for kind, limit in ((resource.RLIMIT_DATA, int(memory)), (resource.RLIMIT_CORE, 0)):
        with suppress(OSError, ValueError):  # ValueError: the limit is lower already
            resource.setrlimit(kind, (limit, limit))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
