"""Operations by their names, as the control socket and the commands call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from daemon.operations.desk import Desk, Operation, Params
from daemon.operations.labelling import LabelParams, label_image
from daemon.operations.labels import ForgetParams, LabelsParams, forget_labels, list_labels
from daemon.operations.relabel import RelabelParams, relabel
from daemon.operations.release import ReleaseParams, release
from daemon.operations.resort import ResortParams, resort
from daemon.operations.retry import RetryParams, retry
from daemon.operations.undo import UndoParams, undo
from models.errors import UserError
from models.text.language import tr


@dataclass(frozen=True)
class Method:
    """An operation, and what it is asked for with."""

    params: type[Params]
    function: Callable[[Desk, Any], Operation]

    def parse(self, given: object) -> Params:
        """Check what a peer has sent. Raises `UserError`."""
        try:
            return self.params.model_validate(given)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            if not where:
                raise UserError(tr("the parameters are wrong: {problem}", problem=problem["msg"])) from error
            raise UserError(
                tr("the parameter {name} is wrong: {problem}", name=where, problem=problem["msg"])
            ) from error

    def run(self, desk: Desk, params: Params) -> Operation:
        """Begin the operation; nothing is done before its first step."""
        return self.function(desk, params)


def operations_at(desk: Callable[[], Desk]) -> dict[str, Callable[[object], Operation]]:
    """Return what begins each operation with what a peer has sent; ``desk`` is asked for each one."""
    return {name: partial(_begin, method, desk) for name, method in METHODS.items()}


def _begin(method: Method, desk: Callable[[], Desk], given: object) -> Operation:
    return method.run(desk(), method.parse(given))


#: Every operation; ``params`` of a request are checked by `Method.parse`.
METHODS: Mapping[str, Method] = {
    "undo": Method(UndoParams, undo),
    "retry": Method(RetryParams, retry),
    "release": Method(ReleaseParams, release),
    "resort": Method(ResortParams, resort),
    "relabel": Method(RelabelParams, relabel),
    "label": Method(LabelParams, label_image),
    "labels": Method(LabelsParams, list_labels),
    "forget": Method(ForgetParams, forget_labels),
}
