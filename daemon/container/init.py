"""Process 1 of a container: ``python -m daemon.container.init COMMAND [OPTION ...]`` runs a command of imagesortd.

The kernel gives process 1 all orphans, and ignores signals that it has no handler for. So this one only starts the
command, passes signals on to it, reaps whatever ends, and ends as the command did.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def run(command: Sequence[str]) -> int:
    """Run a command to its end; returns its exit code, or 128 and the number of the signal that ended it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)  # none may come before there is whom to pass it on to
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        try:
            os.execvp(command[0], list(command))
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            os._exit(127)

    def pass_on(number: int, _: FrameType | None) -> None:
        os.kill(child, number)  # it is not reaped as long as this may be called: its number is nobody else's

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    return _reap_until(child)


def _reap_until(child: int) -> int:
    while True:
        # Look before it is reaped, with signals blocked from then on.
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        if ended.si_pid == child:
            signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
        _, status = os.waitpid(ended.si_pid, 0)
        if ended.si_pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def main() -> None:
    """Run a command of imagesortd, ``watch`` where none is given."""
    script = "from models.imagesortd import script; script()"
    sys.exit(run([sys.executable, "-P", "-c", script, *(sys.argv[1:] or ["watch"])]))


if __name__ == "__main__":
    main()
