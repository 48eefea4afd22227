"""As much of Ray as `models.cluster` uses, in this process and one call at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from models.cluster import connection, workers


class WorkerLost(Exception):
    """What Ray says of a worker that died."""


class CallFailed(Exception):
    """What Ray makes of an exception in a worker."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(eq=False)
class _Ref:
    answer: Callable[[], Any]


class _Handle:
    """A worker as the engine sees it: each method has `remote`, whose answer comes when it is asked for."""

    def __init__(self, worker: Any, before: Callable[[Sequence[Any]], None]) -> None:
        self._worker = worker
        self._before = before
        self.is_lost = False

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: Any) -> _Ref:
            return _Ref(lambda: self._call(name, arguments))

        return SimpleNamespace(remote=remote, options=lambda **_: SimpleNamespace(remote=lambda: self._worker.stop()))

    def _call(self, name: str, arguments: Sequence[Any]) -> Any:
        if self.is_lost:
            raise WorkerLost("the worker died")
        try:
            if name == "look_at":
                self._before(*arguments)
            return getattr(self._worker, name)(*arguments)
        except WorkerLost:
            self.is_lost = True
            raise


@dataclass
class OneProcessRay:
    """Stands in for the module. ``look_at`` is what every worker does; None: what it does in a real cluster,
    after ``before``, which may raise.
    """

    look_at: Callable[[Sequence[Any]], Any] | None = None
    before: Callable[[Sequence[Any]], None] = lambda _: None
    problem: str | None = None
    machines: list[str] = field(default_factory=lambda: ["one", "two"])
    cores: float = 2.0
    handles: list[_Handle] = field(default_factory=list)
    stopped: bool = False
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(RayTaskError=CallFailed, RayError=WorkerLost))

    def nodes(self) -> list[dict[str, Any]]:
        resources = {"CPU": self.cores}
        return [
            {"NodeID": name, "NodeManagerAddress": name, "Alive": True, "Resources": resources}
            for name in self.machines
        ]

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(gcs_address="")

    def put(self, content: Any) -> Any:
        return content

    def remote(self, **_: Any) -> Callable[[Any], Any]:
        def start(kind: Any, arguments: Sequence[Any]) -> _Handle:
            worker = SimpleNamespace(
                open=lambda: self.problem, look_at=self.look_at, stop=self.stop, close=lambda: None
            )
            self.handles.append(_Handle(worker if self.look_at else kind(*arguments), self.before))
            return self.handles[-1]

        return lambda kind: SimpleNamespace(remote=lambda *arguments: start(kind, arguments))

    def stop(self) -> None:
        self.stopped = True

    def wait(self, refs: list[_Ref], num_returns: int, timeout: float) -> tuple[list[_Ref], list[_Ref]]:
        return refs[:num_returns], refs[num_returns:]

    def get(self, ref: _Ref) -> Any:
        return ref.answer()

    def kill(self, handle: _Handle) -> None:
        handle.is_lost = True

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let workers be started by this one, also where Ray is not installed."""

        @contextmanager
        def connected() -> Iterator[OneProcessRay]:
            yield self

        monkeypatch.setattr(connection, "find_spec", lambda _: object())
        monkeypatch.setattr(workers, "connected", connected)
        monkeypatch.setattr(workers, "BETWEEN_LOOKS", 0.0)
        monkeypatch.setattr(workers, "requirements", lambda *_: {})
