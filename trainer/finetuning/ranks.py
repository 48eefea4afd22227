"""What a process is among those that torchrun starts to fine-tune together: its rank, its share, and its end."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

# No heavy imports here: every command asks whether it is one of several processes.

#: Seconds in which torchrun stops a process after another one has ended; it looks ten times a second.
_STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Rank:
    """One of ``count`` processes, by its ``number`` from 0; ``local`` ones are those on its machine, number ``node``.

    ``attempt`` counts how often torchrun has started all of them again (``--max-restarts``).
    """

    number: int = 0
    count: int = 1
    local_number: int = 0
    local_count: int = 1
    node: int = 0
    attempt: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that fits, writes and prints; the others only compute their shares."""
        return self.number == 0

    def share_of(self, cores: int) -> int:
        """Return this process's share of the machine's ``cores``, at least one."""
        whole, rest = divmod(cores, self.local_count)
        return max(1, whole + (self.local_number < rest))


#: A process that no torchrun has started, or that it has started alone.
ALONE = Rank()


def own_rank(environment: Mapping[str, str] = os.environ) -> Rank:
    """Return what torchrun said that this process is."""
    if "TORCHELASTIC_RUN_ID" not in environment:
        return ALONE
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "TORCHELASTIC_RESTART_COUNT")
    try:
        return Rank(*(int(environment[name]) for name in names))
    except (KeyError, ValueError):
        return ALONE


class Stopped(BaseException):
    """torchrun stops this process, because another one has ended or because it was told to stop itself."""


class PeerLost(Exception):
    """Another process, or torchrun itself, no longer answers."""


@contextmanager
def peers_answering() -> Iterator[None]:
    """Raise `PeerLost` for the errors of torch.distributed, all of which are of one class."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(str(error)) from error


def obey_signals() -> None:
    """Raise `Stopped` at SIGTERM and SIGHUP, and `KeyboardInterrupt` at SIGINT; later signals are ignored.

    torchrun may send several, and one that came while the first unwinds would end in a traceback. Where a finaliser
    swallows the exception, it is raised again.
    """
    end: type[BaseException] = Stopped
    report = sys.unraisablehook

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal end
        for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)
        end = KeyboardInterrupt if number == signal.SIGINT else Stopped
        raise end

    def stop_again(*_: object) -> None:
        raise end

    def on_swallowed(swallowed: sys.UnraisableHookArgs) -> None:
        if swallowed.exc_type is not end:
            report(swallowed)
            return
        signal.signal(signal.SIGALRM, stop_again)
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    sys.unraisablehook = on_swallowed


def await_signal() -> None:
    """Wait for the signal by which torchrun stops this process; return if none comes."""
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.1)


def die_by(number: signal.Signals) -> NoReturn:
    """End this process by a signal, as torchrun expects of one that it has stopped: its report then says so."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    raise AssertionError("a signal with its default action ends the process")


def record_error(sentence: str) -> None:
    """Leave a sentence where torchrun's report takes it from; it would say how to get a traceback instead."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    message = {"message": sentence, "extraInfo": {"timestamp": str(int(time.time()))}}
    if path is not None:
        with suppress(OSError), open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - named by torchrun
            json.dump({"message": message}, file)
