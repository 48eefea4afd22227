"""Run the command of ``on_filed``, which reads filed images as JSON objects, one a line, on standard input."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO

from loguru import logger

from daemon.config.class_rules import ClassRules
from daemon.filing.filer import Status
from daemon.filing.outcome import Outcome
from daemon.monitoring.messages import shown
from models.text.jsontext import json_text
from models.text.language import tr

_MOST_LINES = 1_000  # told in one run
#: Images remembered while the command is slower than the filing.
MOST_PENDING = 10_000
_LONGEST_COMPLAINT = 300


class Hooks:
    """The commands that run after filing, each a `Hook` of its own: that of the settings, and those of classes."""

    def __init__(self, rules: ClassRules, seconds: float) -> None:
        """``seconds``: what one run of a command may take."""
        self._rules = rules
        self._hooks = {command: Hook(command, seconds) for command in rules.commands}

    def outcome(self, outcome: Outcome) -> None:
        """Note a filed image for the next run of its command, if it has one."""
        is_of_class = outcome.label is not None and outcome.fate is not None and outcome.fate.is_of_class
        rule = self._rules.handling_of(outcome.label) if is_of_class and outcome.label else self._rules.usual
        if (hook := self._hooks.get(rule.on_filed)) is not None:
            hook.outcome(outcome)

    def flush(self) -> None:
        """Tell the commands about the batch that has ended."""
        for hook in self._hooks.values():
            hook.flush()

    def retire(self) -> None:
        """Tell the commands what is left, without blocking."""
        for hook in self._hooks.values():
            hook.retire()

    def close(self) -> None:
        """Tell what is left, within the time of two runs."""
        self.retire()
        for hook in self._hooks.values():
            hook.close()


class Hook:
    """Runs the command on a thread of its own, one run at a time; whatever it does, filing goes on.

    ``command`` is the program and its arguments, ``seconds`` what one run may take before it is killed. What is filed
    while a run lasts is told in the next one.
    """

    def __init__(self, command: Sequence[str], seconds: float) -> None:
        self._command = list(command)
        self._seconds = seconds
        self._batch: list[str] = []
        self._pending: deque[str] = deque()
        self._lost = 0
        self._closing = False
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._complaint: str | None = None
        self._thread = threading.Thread(target=self._work, name="hook", daemon=True)
        self._thread.start()

    def outcome(self, outcome: Outcome) -> None:
        """Note a filed image for the next run; other outcomes are none of its business."""
        if outcome.status is Status.FILED:
            self._batch.append(line(outcome, datetime.now(UTC)))

    def flush(self) -> None:
        """Tell the command about the batch that has ended."""
        if not self._batch:
            return
        with self._changed:
            self._pending.extend(self._batch)
            self._batch = []
            while len(self._pending) > MOST_PENDING:
                self._pending.popleft()
                self._lost += 1
            self._changed.notify()

    def retire(self) -> None:
        """Tell the command what is left, without blocking."""
        self.flush()
        with self._changed:
            self._closing = True
            self._changed.notify()

    def close(self) -> None:
        """Tell what is left, within the time of two runs."""
        self.retire()
        self._thread.join(2 * self._seconds)
        if self._thread.is_alive():
            with self._changed:
                logger.warning(
                    tr(
                        "on_filed: the daemon ends before the command was told of {count} images",
                        count=len(self._pending),
                    )
                )
                self._pending.clear()
            self._kill()
            self._thread.join(self._seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._pending and not self._closing:
                    self._changed.wait()
                lines = [self._pending.popleft() for _ in range(min(len(self._pending), _MOST_LINES))]
                lost, self._lost = self._lost, 0
            if not lines:
                return
            if lost:
                logger.warning(tr("on_filed: the command is too slow; it was not told of {lost} images", lost=lost))
            try:
                self._complain(self._run("".join(lines).encode()))
            except OSError as error:
                self._complain(tr("it cannot be run: {reason}", reason=error.strerror))

    def _run(self, lines: bytes) -> str | None:
        """Run the command once; what went wrong, or None. Raises OSError."""
        with tempfile.TemporaryFile() as errors:
            self._process = process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # so that it ends with all it has started
            )
            try:
                process.communicate(lines, timeout=self._seconds)
            except subprocess.TimeoutExpired:
                self._kill()
                process.communicate()
                return tr("it took longer than {seconds:g} s and was killed", seconds=self._seconds)
            finally:
                self._process = None
            if process.returncode == 0:
                return None
            code, words = process.returncode, _last_words(errors)
            if words:
                return tr("it ended with code {code}: {words}", code=code, words=words)
            return tr("it ended with code {code}", code=code)

    def _kill(self) -> None:
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _complain(self, complaint: str | None) -> None:
        """Log a failure once, and when it has passed."""
        if complaint is not None and complaint != self._complaint:
            logger.error(tr("on_filed: {command}: {complaint}", command=shown(self._command[0]), complaint=complaint))
        elif complaint is None and self._complaint is not None:
            logger.info(tr("on_filed: the command works again"))
        self._complaint = complaint


def _last_words(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _LONGEST_COMPLAINT))
    return shown(errors.read().decode("utf-8", "replace").strip())


def line(outcome: Outcome, now: datetime) -> str:
    """Make the command's line for one image, in UTF-8. Bytes that are no UTF-8 are escaped, as ``\\udce9``."""
    assert outcome.destination is not None
    told = {
        "time": now.isoformat(timespec="milliseconds"),
        "file": str(outcome.path),
        "destination": str(outcome.destination),
        "class": outcome.label,
        "confidence": None if outcome.confidence is None else round(outcome.confidence, 6),
        "reason": outcome.reason,
        "detail": outcome.detail,
    }
    return json_text(told) + "\n"
