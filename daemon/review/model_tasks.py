"""Have the trainer do something with the model: a lesson, or going back to another run. One task at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from daemon.review.model_api import ModelTask, TaskState
from daemon.review.place import ReviewedOutput
from daemon.review.refusals import Refusal
from models.children import child_environment
from models.text.language import VARIABLE, in_use, tr
from models.text.printable import shown

_LONGEST_LINE = 2000


class ModelTasks:
    """Runs tasks as commands, and remembers the last one. Safe in any thread.

    ``on_change`` is called when its state has changed.
    """

    def __init__(self, place: ReviewedOutput, on_change: Callable[[], None]) -> None:
        self._place = place
        self._on_change = on_change
        self._lock = threading.Lock()
        self._state: TaskState | None = None
        self._process: subprocess.Popen[str] | None = None

    def close(self) -> None:
        """End the task that runs, as Ctrl-C does."""
        with self._lock:
            if self._process is not None:
                self._process.terminate()

    @property
    def state(self) -> TaskState | None:
        """The last task."""
        return self._state

    def begin(self, asked: ModelTask) -> TaskState:
        """Begin a task. Raises `Refusal` while another one runs."""
        with self._lock:
            if self._process is not None:
                raise Refusal(409, tr("something is being done with the model already: wait until it is over"))
            try:
                self._process = process = self._start(self._arguments(asked))
            except OSError as error:
                raise Refusal(503, tr("it cannot be started: {error}", error=error)) from error
            self._state = TaskState(task=asked.task, state="running", says=tr("begun"))
        threading.Thread(target=self._follow, args=(process, asked), name="model", daemon=True).start()
        return self._state

    def _arguments(self, asked: ModelTask) -> list[str]:
        settings = self._place.settings
        if asked.task == "learn":
            more = [] if settings.state_dir is None else ["--state-dir", str(settings.state_dir)]
            more += [] if settings.cache_dir is None else ["--cache-dir", str(settings.cache_dir)]
            output, checkpoint = str(settings.output), str(settings.checkpoint)
            return ["daemon", "learn", "--output", output, "--checkpoint", checkpoint, *more]
        where = ["--output-dir", str(settings.checkpoint)]
        return ["trainer", "publish", asked.run, *where] if asked.run else ["trainer", "rollback", *where]

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        package, *rest = arguments
        return subprocess.Popen(
            [sys.executable, "-P", "-m", package, *rest],
            env=child_environment() | {VARIABLE: in_use()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def _follow(self, process: subprocess.Popen[str], asked: ModelTask) -> None:
        says = ""
        assert process.stdout is not None
        with process:
            for line in process.stdout:
                if line.strip():
                    says = shown(line.strip())[:_LONGEST_LINE]
                    self._say(TaskState(task=asked.task, state="running", says=says))
        with self._lock:
            self._process = None
        self._say(TaskState(task=asked.task, state="failed" if process.returncode else "done", says=says))

    def _say(self, state: TaskState) -> None:
        self._state = state
        self._on_change()
