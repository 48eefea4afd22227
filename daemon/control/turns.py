"""Run the operations of peers on the work loop, a little at a time and one after the other."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from daemon.control.calls import Call, log_fault
from daemon.control.protocol import LEFT
from daemon.operations.desk import Operation
from models.text.language import speaking, tr

#: Seconds that operations may take before images get as long. One step more may follow.
SLICE = 0.05


class Work(NamedTuple):
    """What a call asks for.

    ``moves``: it needs the inboxes and the output, which may not be there. ``between_steps``: it changes what a step of
    the work loop goes by, so that it waits for the end of that.
    """

    operation: Operation
    moves: bool = True
    between_steps: bool = False


class Turns:
    """Operations under way. `add` and `look` are for the server's thread, all else for that of the work loop.

    ``begin`` makes the work of a call; raises `UserError` for one that is wrong. ``wake`` ends the work loop's wait.
    ``at_work`` is held in every step that moves files; it raises `UserError` while the folders are not there.
    ``report`` is called before each answer: a status that is asked for next shows what was done.
    """

    def __init__(
        self,
        begin: Callable[[Call], Work],
        wake: Callable[[], None],
        at_work: Callable[[], AbstractContextManager[None]] = nullcontext,
        report: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._begin = begin
        self._wake = wake
        self._at_work = at_work
        self._report = report
        self._clock = clock
        self._new: deque[Call] = deque()
        self._running: deque[tuple[Call, Work]] = deque()
        self._next = 0.0  # when images have had as long as the last slice took
        self._closed = False
        self._lock = threading.Lock()

    def add(self, call: Call) -> None:
        """Have a call carried out."""
        with self._lock:
            if not self._closed:
                self._new.append(call)
        if self._closed:
            _stopped(call)
        else:
            self._wake()

    def look(self) -> None:
        """Let the work loop see that a peer has gone away, or takes more items."""
        if self._new or self._running:
            self._wake()

    @property
    def is_due(self) -> bool:
        """Whether there is something to do now, so that the work loop must not wait."""
        return bool(self._new) or any(_can_go_on(call) for call, _ in self._running)

    def run(self, stopping: Callable[[], bool], *, idle: bool, in_step: bool = False, seconds: float = SLICE) -> None:
        """Work for about ``seconds``. Where it is not ``idle``, images come first for as long as the last slice took.

        ``stopping`` is asked after each step of an operation, whether to do no more. ``in_step``: the work loop is in
        the midst of a step of its own.
        """
        if not self._new and not self._running:
            return
        begun = self._clock()
        if begun < self._next and not idle:
            return
        while not stopping():
            while self._new:
                self._start(self._new.popleft())
            if not self._step(in_step=in_step) or self._clock() >= begun + seconds:
                break
        now = self._clock()
        self._next = now + min(now - begun, 2 * seconds)

    def close(self) -> None:
        """End what is under way, between two steps, and tell the peers."""
        with self._lock:
            self._closed = True
        for call in self._new:
            _stopped(call)
        self._new.clear()
        while self._running:
            call, work = self._running.popleft()
            _close(call, work)
            _stopped(call)

    def _start(self, call: Call) -> None:
        if call.is_over:
            return
        try:
            with speaking(call.language):
                self._running.append((call, self._begin(call)))
        except Exception as error:
            call.failed(error)

    def _step(self, *, in_step: bool) -> bool:
        """Do one step of the first operation whose turn it is; returns whether there was one that can take it."""
        for _ in range(len(self._running)):
            call, work = self._running.popleft()
            if call.is_over:
                _close(call, work)
            elif not call.has_room or (work.between_steps and in_step):
                self._running.append((call, work))
            else:
                if self._advance(call, work):
                    self._running.append((call, work))
                return True
        return False

    def _advance(self, call: Call, work: Work) -> bool:
        """Do a step of an operation; returns whether there are more."""
        result = None
        try:
            with speaking(call.language), self._at_work() if work.moves else nullcontext():
                try:
                    item = next(work.operation)
                except StopIteration as end:
                    result = end.value
            if result is None:
                call.item(item)
                return True
            self._report()
            call.result(result)
        except Exception as error:
            _close(call, work)
            self._report()
            call.failed(error)
        return False


def _can_go_on(call: Call) -> bool:
    return call.is_over or call.has_room


def _stopped(call: Call) -> None:
    with speaking(call.language):
        call.fail(tr("the daemon is stopping: run the same command again for what is left"), LEFT)


def _close(call: Call, work: Work) -> None:
    try:
        with speaking(call.language):
            work.operation.close()
    except Exception as error:
        log_fault(call.request.method, error)
