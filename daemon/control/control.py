"""The control socket of one daemon: the socket, the thread that serves it, and what runs on the work loop for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from loguru import logger

from daemon.control import protocol
from daemon.control.calls import Call
from daemon.control.listening import Listener, NoControl
from daemon.control.methods import Begin, Methods, without_parameters
from daemon.control.protocol import LEFT, Refused
from daemon.control.server import ControlServer
from daemon.control.turns import Turns
from daemon.files.output_mark import OutputAway, OutputMark
from daemon.files.output_marks import OutputMarks
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.stall_watch import find_stall
from daemon.operations.desk import Operation
from daemon.watching.watcher import InboxWatcher
from models.errors import UserError
from models.text.language import tr


class Control:
    """Lets commands speak to the daemon that files into ``output``; does nothing before `listen`.

    ``operations``: what moves files, by its method. ``learn`` gives a lesson to who has called for it.
    """

    def __init__(
        self,
        output: Path,
        watcher: InboxWatcher,
        monitor: Monitor,
        output_mark: OutputMark | OutputMarks,
        operations: Mapping[str, Begin],
        learn: Callable[[Call], None] | None = None,
    ) -> None:
        self._output = output
        self._watcher = watcher
        self._monitor = monitor
        self._output_mark = output_mark
        self._reload: Callable[[], tuple[frozenset[str], frozenset[str], str | None]] | None = None
        self._methods = Methods(
            {"status": self._status},
            {"rescan": self._rescan, "reload": self._reread},
            operations,
            {} if learn is None else {"learn": learn},
        )
        #: For the work loop.
        self.turns = Turns(self._methods.begin, watcher.wake, self._at_work, self._report)
        self._listener: Listener | None = None
        self._server: ControlServer | None = None

    def listen(
        self, path: Path, group: str, reload: Callable[[], tuple[frozenset[str], frozenset[str], str | None]]
    ) -> None:
        """Answer from now on; where the socket cannot be made, that is logged, and the daemon files without it.

        ``reload`` reads the settings again, on the work loop.
        """
        self._reload = reload
        try:
            self._listener = Listener(path, group)
        except NoControl as error:
            logger.warning("{}", error)
            return
        self._server = ControlServer(
            self._listener.socket,
            protocol.greeting(output=str(self._output)),
            lambda call: self._methods.answer(call, self.turns.add),
            look=self.turns.look,
            why_stuck=self._why_stuck,
            group=self._listener.group,
        )
        self._server.start()
        logger.debug("commands may speak to this daemon at {}", path)

    def close(self) -> None:
        """End what commands wait for, and stop listening. On the work loop's thread, when that has ended."""
        self.turns.close()
        if self._server is not None:
            self._server.close()
        if self._listener is not None:
            self._listener.close()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Do a step that moves files: where one of the folders is not there, say so instead of waiting for it."""
        if not self._watcher.all_answer():
            silent = [inbox.path for inbox in self._watcher.status().inboxes if inbox.is_unresponsive]
            raise UserError(
                tr(
                    "{inboxes} does not answer: look at its server or drive, and run this again then",
                    inboxes=", ".join(map(str, silent)),
                )
            )
        try:
            with self._output_mark.at_work(make=False):
                yield
        except OutputAway as away:
            raise UserError(str(away)) from away

    def _report(self) -> None:
        self._monitor.report(self._watcher.status)

    def _why_stuck(self) -> str | None:
        now = time.monotonic()
        stall = find_stall(self._watcher.asked, self._monitor.last_step, now)
        return None if stall is None else stall.sentence(now)

    def _status(self) -> dict[str, object]:
        health = self._monitor.latest
        if health is None:
            raise Refused(tr("the daemon is just starting: ask again in a moment"), LEFT)
        return health.model_dump()

    def _rescan(self, params: Mapping[str, object]) -> Operation:
        without_parameters(params)
        inboxes = self._watcher.rescan()
        yield from ()
        return {
            "inboxes": [
                {
                    "path": str(inbox.path),
                    "missing": inbox.why_missing,
                    "says": tr("{inbox} is missing: {why}", inbox=inbox.path, why=inbox.why_missing)
                    if inbox.why_missing
                    else tr("looking through {inbox} now", inbox=inbox.path),
                }
                for inbox in inboxes
            ]
        }

    def _reread(self, params: Mapping[str, object]) -> Operation:
        without_parameters(params)
        assert self._reload is not None
        taken, need_restart, error = self._reload()
        yield from ()
        if error is not None:
            raise UserError(tr("the settings in use stay: {error}", error=error))
        return {"taken": sorted(taken), "need_restart": sorted(need_restart)}
