"""A control socket whose operations are those of a test, and a thread in place of the work loop."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.control.client import ControlClient
from daemon.control.listening import Listener
from daemon.control.methods import Begin, Methods, without_parameters
from daemon.control.protocol import VERSION, greeting
from daemon.control.server import ControlServer
from daemon.control.turns import Turns
from daemon.operations.desk import Operation
from models.errors import UserError
from models.text.language import tr

OUTPUT = "/srv/sorted"
GREETING = {"imagesortd": VERSION, "language": "en"}


def count(params: Mapping[str, object]) -> Operation:
    """``n`` items, of ``size`` letters each."""
    number, size = params.get("n", 0), params.get("size", 1)
    if type(number) is not int or type(size) is not int or set(params) - {"n", "size"}:
        raise UserError(tr("this method takes no parameters"))
    return _counted(number, size)


def _counted(number: int, size: int) -> Operation:
    for index in range(number):
        yield {"number": index, "text": "x" * size}
    return {"count": number}


@dataclass
class ControlDesk:
    """``path`` is the socket; ``stuck`` is what keeps the work loop from going on."""

    path: Path
    operations: dict[str, Begin]
    stuck: str | None = None
    now: float = 0.0
    woken: threading.Event = field(default_factory=threading.Event)
    turns: Turns = field(init=False)
    server: ControlServer = field(init=False)

    def call(self, method: str, **params: object) -> tuple[list[dict[str, object]], dict[str, object]]:
        """All items, and the result."""
        items = []
        with ControlClient(self.path) as client:
            calling = client.call(method, params)
            while True:
                try:
                    items.append(next(calling))
                except StopIteration as end:
                    return items, end.value

    def raw(self) -> Raw:
        """A connection of somebody who sends what he likes."""
        return Raw(self.path)


class Raw:
    """A peer that speaks by bytes."""

    def __init__(self, path: Path, seconds: float = 60.0) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)  # which waits, where many others do
        self.socket.connect(str(path))
        self.socket.settimeout(seconds)
        self._lines = self.socket.makefile("rb")

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes | Mapping[str, object]) -> Raw:
        self.socket.sendall(data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n")
        return self

    def greet(self) -> Raw:
        assert self.read() == {"imagesortd": VERSION, "output": OUTPUT}
        return self.send(GREETING)

    def read(self) -> dict[str, Any] | None:
        """The next line; None at the end."""
        line = self._lines.readline()
        return json.loads(line) if line else None

    def last_sentence(self) -> str:
        """The sentence of the line that is the last one."""
        line = self.read()
        assert line is not None
        assert line["id"] is None
        assert self.read() is None
        return str(line["error"]["sentence"])

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


@contextmanager
def control_desk(
    folder: Path,
    operations: Mapping[str, Begin] | None = None,
    *,
    patience: float = 60.0,
    group: str = "",
    serves: bool = True,
) -> Iterator[ControlDesk]:
    """A server that answers ``status``, ``count`` and ``operations``. ``serves``: a thread does what they ask for."""
    path = folder / "control.sock"
    listener = Listener(path, group)
    desk = ControlDesk(path, {"count": count, **(operations or {})})
    methods = Methods({"status": lambda: {"waiting": 3}}, {"rescan": _nothing}, desk.operations)
    desk.turns = Turns(methods.begin, desk.woken.set)
    desk.server = ControlServer(
        listener.socket,
        greeting(output=OUTPUT),
        lambda call: methods.answer(call, desk.turns.add),
        look=desk.turns.look,
        why_stuck=lambda: desk.stuck,
        group=listener.group,
        patience=patience,
    )
    over = threading.Event()
    working = threading.Thread(target=_work, args=(desk, over.is_set), daemon=True)
    desk.server.start()
    if serves:
        working.start()
    try:
        yield desk
    finally:
        over.set()
        desk.woken.set()
        if serves:
            working.join()
        desk.turns.close()
        desk.server.close()
        listener.close()


def _nothing(params: Mapping[str, object]) -> Operation:
    without_parameters(params)
    yield from ()
    return {}


def _work(desk: ControlDesk, is_over: Callable[[], bool]) -> None:
    while not is_over():
        if not desk.turns.is_due:
            desk.woken.wait(300)
        desk.woken.clear()
        desk.turns.run(is_over, idle=True)
