"""Write answers: as JSON, and refusals as a sentence."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from daemon.review.api import Problem, Request
from daemon.review.refusals import Refusal
from models.errors import UserError
from models.text.language import tr

_Asked = TypeVar("_Asked", bound=Request)


def reply(answer: BaseModel, status: int = 200) -> Response:
    """Write an answer."""
    return Response(answer.model_dump_json(), status, media_type="application/json")


def refused(refusal: Refusal) -> Response:
    """Write a refusal; of a request whose body was not read the connection ends."""
    response = reply(Problem(sentence=refusal.sentence), refusal.status)
    if refusal.status in (408, 413):
        response.headers["connection"] = "close"
    return response


def parsed(model: type[_Asked], body: bytes) -> _Asked:
    """Check a request. Raises `Refusal`."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "JSON"
        raise Refusal(
            400, tr("the request is wrong at {where}: {problem}", where=where, problem=problem["msg"])
        ) from error


def as_refusal(error: UserError) -> Refusal:
    """Say to the reader what would be said to whoever types a command."""
    return Refusal(409, str(error))
