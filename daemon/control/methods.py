"""What a peer may call: the daemon's own methods, and the operations that commands share with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from daemon.control.calls import Call
from daemon.control.turns import Work
from daemon.operations.desk import Operation
from models.errors import UserError
from models.text.language import tr

#: Makes the operation of a method from a peer's parameters. Raises `UserError` for wrong ones.
Begin = Callable[[Mapping[str, object]], Operation]


class Methods:
    """Methods by name. ``at_once`` are answered on the server's thread, also while the work loop is stuck.

    ``in_loop`` are the daemon's own, and ``operations`` move files. ``elsewhere`` are handed a call that another thread
    answers when it can.
    """

    def __init__(
        self,
        at_once: Mapping[str, Callable[[], dict[str, object]]],
        in_loop: Mapping[str, Begin],
        operations: Mapping[str, Begin],
        elsewhere: Mapping[str, Callable[[Call], None]] | None = None,
    ) -> None:
        self._at_once = at_once
        self._in_loop = in_loop
        self._operations = operations
        self._elsewhere = elsewhere or {}

    def answer(self, call: Call, later: Callable[[Call], None]) -> None:
        """Answer a call at once where that is possible, or else ``later``. Raises `UserError`."""
        name, params = call.request.method, call.request.params
        if name in self._at_once:
            without_parameters(params)
            call.result(self._at_once[name]())
        elif name in self._elsewhere:
            without_parameters(params)
            self._elsewhere[name](call)
        elif name in self._in_loop or name in self._operations:
            later(call)
        else:
            raise UserError(
                tr("the running daemon has no method '{name}': restart it, if this command is newer", name=name)
            )

    def begin(self, call: Call) -> Work:
        """Make the work of a call that is carried out on the work loop. Raises `UserError`."""
        name, params = call.request.method, call.request.params
        if name in self._in_loop:
            return Work(self._in_loop[name](params), moves=False, between_steps=True)
        return Work(self._operations[name](params))


def without_parameters(params: Mapping[str, object]) -> None:
    """Raise `UserError` for parameters of a method that takes none."""
    if params:
        raise UserError(tr("this method takes no parameters"))
