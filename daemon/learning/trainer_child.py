"""Run one lesson as a child process, and find out what came of it, whatever it prints and however it ends."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from daemon.config import Settings
from daemon.learning.audited import audited_file
from daemon.learning.given_labels import filed_file
from models.children import child_environment
from models.text.language import VARIABLE, in_use, mark, tr
from models.text.printable import shown

#: Exit codes of the trainer: a lesson that was published or was not, and wrong use.
_PUBLISHED, _NOT_PUBLISHED, _WRONG_USE = 0, 4, 2
#: What the trainer may say that a lesson came to.
PUBLISHED, REFUSED, NOTHING_NEW, BUSY, SUPERSEDED = "published", "refused", "nothing new", "busy", "superseded"
#: Beside these: it cannot be given as things are, and it broke off.
IMPOSSIBLE, BROKEN = "impossible", "broken"
_SAID = frozenset({PUBLISHED, REFUSED, NOTHING_NEW, BUSY, SUPERSEDED})

#: Bytes that a lesson may write, and those of one line of a report; what is longer is cut off.
_MOST_OUTPUT, _LONGEST_LINE = 4 << 20, 4096
_CHUNK = 65536
#: Lines that are kept for the reason of a failure, and letters of a reason.
_KEPT_LINES, _LONGEST_REASON = 20, 500
_RUBBISH = mark("its answer cannot be understood")


@dataclass(frozen=True)
class LessonOptions:
    """What a lesson works with. ``seconds`` and ``memory`` (bytes) are its limits; ``given_up``: see `LessonRecord`."""

    checkpoints: Path
    cache_dir: Path | None
    seconds: float
    memory: int
    given_up: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings, given_up: str | None = None) -> LessonOptions:
        """Take what concerns lessons from the settings."""
        memory = settings.learn_memory_mb << 20
        return cls(settings.checkpoint, settings.cache_dir, settings.learn_seconds, memory, given_up)

    def command(self, labels: Path) -> list[str]:
        """Return the words of the trainer's command."""
        words = [sys.executable, "-P", "-m", "trainer", "learn", "--json"]
        words += ["--checkpoints", str(self.checkpoints), "--labels", str(labels)]
        for option, file in (("--filed", filed_file(labels)), ("--audited", audited_file(labels))):
            words += [option, str(file)] if file.exists() else []
        words += ["--given-up", self.given_up] if self.given_up else []
        return words if self.cache_dir is None else [*words, "--cache-dir", str(self.cache_dir)]


@dataclass(frozen=True)
class LessonAnswer:
    """What came of a lesson: ``result`` is one of the words above, ``why`` a sentence, and ``figures`` what it told."""

    result: str
    why: str
    figures: dict[str, Any] = field(default_factory=dict)


class _End(Enum):
    """How a child has ended: by itself, because somebody asked for it, or because it took or wrote too much."""

    ITS_OWN, ASKED, LATE, TALKING = range(4)


class TrainerChild:
    """One lesson. `run` is for one thread, which must outlive it; `end` is for any other."""

    def __init__(self, options: LessonOptions, labels: Path, command: list[str] | None = None) -> None:
        """``labels``: the file of all labels. ``command`` stands in for that of the trainer."""
        self._options = options
        self._command = command or options.command(labels)
        self._lock, self._is_over = threading.Lock(), False
        self._ending = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._output, self._errors, self._read = bytearray(), bytearray(), 0
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

    def end(self) -> None:
        """Have the lesson ended at once; nothing is half published."""
        with self._lock:
            if not self._is_over:
                os.eventfd_write(self._ending, 1)

    def run(self, on_line: Callable[[str], None] = lambda _: None) -> LessonAnswer | None:
        """Give the lesson; ``on_line`` is told what it reports on its way. None: it was ended. Raises OSError."""
        try:
            code, end = self._run(on_line)
        finally:
            with self._lock:
                self._is_over = True
                os.close(self._ending)
        return None if end is _End.ASKED else self._answer(code, end)

    def _run(self, on_line: Callable[[str], None]) -> tuple[int, _End]:
        memory = str(self._options.memory)
        words = [sys.executable, "-P", "-m", "daemon.learning.confinement", str(os.getpid()), memory]
        with subprocess.Popen(
            [*words, *self._command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",  # no drive is kept from being unmounted
            env=child_environment() | {VARIABLE: in_use()},
            start_new_session=True,  # Ctrl-C is for the daemon, and a lesson ends with all that it has started
        ) as process:
            try:
                end = self._watch(process, on_line)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            return process.wait(), end

    def _watch(self, process: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> _End:
        """Read what the child writes until it ends, or is to be ended."""
        assert process.stdout is not None
        assert process.stderr is not None
        output, errors = process.stdout.fileno(), process.stderr.fileno()
        exited = _exit_of(process.pid)
        writing = {output, errors}
        deadline = time.monotonic() + self._options.seconds
        try:
            poll = select.poll()
            for descriptor in (self._ending, *writing, *exited):
                poll.register(descriptor, select.POLLIN)
            while (left := deadline - time.monotonic()) > 0:
                ready = {descriptor for descriptor, _ in poll.poll(math.ceil(left * 1000))}
                if self._ending in ready:
                    return _End.ASKED
                if ready and ready == exited:  # all is read; what it has left behind may hold the pipes open
                    return _End.ITS_OWN
                for descriptor in ready & writing:
                    if not self._take(os.read(descriptor, _CHUNK), on_line, is_output=descriptor == output):
                        poll.unregister(descriptor)
                        writing.discard(descriptor)
                if not (writing or exited):
                    process.wait(max(0.0, deadline - time.monotonic()))
                    return _End.ITS_OWN
                if self._read > _MOST_OUTPUT:
                    return _End.TALKING
            return _End.LATE
        except subprocess.TimeoutExpired:
            return _End.LATE
        finally:
            for descriptor in exited:
                os.close(descriptor)

    def _take(self, chunk: bytes, on_line: Callable[[str], None], *, is_output: bool) -> bool:
        """Take what was read; returns whether more may come."""
        self._read += len(chunk)
        if is_output:
            self._output += chunk
            return bool(chunk)
        *whole, rest = (bytes(self._errors) + chunk).split(b"\n")
        if not chunk or len(rest) > _LONGEST_LINE:
            whole, rest = [*whole, rest], b""
        self._errors[:] = rest
        for words in whole:
            if line := shown(words[:_LONGEST_LINE].decode("utf-8", "backslashreplace").strip()):
                self._lines.append(line)
                on_line(line)
        return bool(chunk)

    def _answer(self, code: int, end: _End) -> LessonAnswer:
        if end is _End.LATE:
            seconds = self._options.seconds
            return LessonAnswer(BROKEN, tr("it took longer than {seconds:g} s (learn_seconds)", seconds=seconds))
        if end is _End.TALKING:
            return LessonAnswer(BROKEN, tr(_RUBBISH))
        if code in (_PUBLISHED, _NOT_PUBLISHED):
            return self._understood() or LessonAnswer(BROKEN, tr(_RUBBISH))
        if code == -signal.SIGKILL:
            return LessonAnswer(BROKEN, tr("it was killed, perhaps because it ran out of memory (learn_memory_mb)"))
        if code < 0:
            return LessonAnswer(BROKEN, tr("it was ended by signal {number}", number=-code))
        last = self._lines[-1][:_LONGEST_REASON] if self._lines else tr("it gave no reason")
        if code == _WRONG_USE:
            return LessonAnswer(IMPOSSIBLE, last.removeprefix("trainer: "))
        if any("MemoryError" in line for line in self._lines):
            return LessonAnswer(BROKEN, tr("it needs more memory than it may use (learn_memory_mb)"))
        return LessonAnswer(BROKEN, tr("it ended with code {code}: {words}", code=code, words=last))

    def _understood(self) -> LessonAnswer | None:
        """Read the answer; None where it is none."""
        try:
            figures = json.loads(self._output)
        except (ValueError, RecursionError):
            return None
        if not isinstance(figures, dict):
            return None
        result, why, run = (figures.get(key) for key in ("result", "why", "run"))
        if result not in _SAID or not isinstance(why, str) or not isinstance(run, str | None):
            return None
        if (result == PUBLISHED) != (run is not None):
            return None
        return LessonAnswer(str(result), shown(why)[:_LONGEST_REASON], figures)


def _exit_of(pid: int) -> set[int]:
    """Return a descriptor that becomes readable when a child ends; none on a kernel before 5.3, where pipes tell."""
    try:
        return {os.pidfd_open(pid)}
    except OSError:
        return set()
