"""Lines that a daemon and a command exchange over the control socket: one JSON object each.

The first line of both sides is a greeting: ``{"imagesortd": 1, "language": "ko"}`` from the command, and from the
daemon ``{"imagesortd": 1, "output": "/srv/sorted"}``. Then the command calls, one call at a time: ``{"id": 1, "method":
"undo", "params": {"last": 1}}``. The daemon answers with any number of items, ``{"id": 1, "item": {...}}``, and last of
all with ``{"id": 1, "result": {...}}`` or ``{"id": 1, "error": {"sentence": "...", "exit": 2}}``. Between them ``{"id":
1}`` says that the work goes on. An error whose id is null concerns the connection, which ends with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from models.errors import UserError
from models.text.language import LANGUAGES, Language, in_use, tr

#: Version of the protocol. It rises with every change that makes an older daemon or command misunderstand a newer one:
#: also when a method takes other parameters.
VERSION = 1
_NAME = "imagesortd"

#: Bytes of the longest line.
LONGEST_LINE = 1 << 20
#: Seconds that a peer has for a line, and in which a line of the daemon must be taken.
PATIENCE = 10.0
#: Seconds between two lines of a daemon at work; a client takes it for stuck after `SILENCE`.
PACE, SILENCE = 5.0, 60.0

#: Exit codes of the command: a fault of ours, wrong use, images left behind.
FAULT, MISUSE, LEFT = 1, 2, 3

_LARGEST_ID = 1 << 53
_LONGEST_SENTENCE = 4000


class Malformed(UserError):
    """A line that is not of this protocol. The connection ends, since nobody knows where the next line begins."""


class Refused(UserError):
    """The daemon's answer to a call that it could not carry out, or not to its end."""

    def __init__(self, sentence: str, exit_code: int = MISUSE) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class Busy(Refused):
    """The daemon speaks with as many peers as it can: a later try may succeed."""


class Request(NamedTuple):
    """A call of a peer."""

    id: int
    method: str
    params: dict[str, object]


def encode(message: Mapping[str, object]) -> bytes:
    """Write a message as a line, in ASCII: bytes of names that are not valid UTF-8 come back as they were.

    Raises ValueError and TypeError for what JSON does not have, or what is too long for a line.
    """
    line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
    if len(line) > LONGEST_LINE:
        raise ValueError(f"a line of {len(line)} bytes is too long")
    return line


def decode(line: bytes | bytearray) -> dict[str, object]:
    """Read a line. Raises `Malformed`."""
    try:
        message = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Malformed(tr("a line is not JSON")) from None
    if not isinstance(message, dict):
        raise Malformed(tr("a line is not a JSON object"))
    return message


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def request(message: Mapping[str, object]) -> Request:
    """Take a call from a peer's line. Raises `Malformed`."""
    number, method, params = message.get("id"), message.get("method"), message.get("params", {})
    if type(number) is not int or not 0 <= number <= _LARGEST_ID:
        raise Malformed(tr("a call needs an id, a whole number"))
    if not isinstance(method, str) or not isinstance(params, dict) or set(message) - {"id", "method", "params"}:
        raise Malformed(tr("a call has an id, the name of a method and an object of parameters, and nothing else"))
    return Request(number, method, params)


def greeting(**more: str) -> dict[str, object]:
    """Make the first line of either side."""
    return {_NAME: VERSION, **more}


def command_greeting() -> dict[str, object]:
    """Make a command's first line."""
    return greeting(language=in_use())


def language_of(message: Mapping[str, object]) -> Language:
    """Read a command's greeting; returns the language to answer in. Raises `Malformed`."""
    _check_greeting(message, lambda theirs: mismatch(daemon=VERSION, command=theirs))
    language = message.get("language")
    return next((known for known in LANGUAGES if known == language), in_use())


def output_of(message: Mapping[str, object]) -> str:
    """Read a daemon's greeting; returns the folder that it files into. Raises `Malformed`."""
    _check_greeting(message, lambda theirs: mismatch(daemon=theirs, command=VERSION))
    output = message.get("output")
    return output if isinstance(output, str) else ""


def _check_greeting(message: Mapping[str, object], mismatch: Callable[[int], str]) -> None:
    version = message.get(_NAME)
    if type(version) is not int:
        raise Malformed(tr("the other side does not speak imagesortd's protocol"))
    if version != VERSION:
        raise Malformed(mismatch(version))


def mismatch(*, daemon: int, command: int) -> str:
    """Say which of the two is older, and what to do."""
    if daemon < command:
        return tr("the running daemon is of an older version than this command: restart the daemon")
    return tr(
        "this command is of an older version than the running daemon: upgrade it, or use the imagesortd that the "
        "daemon was started from"
    )


def error(sentence: str, exit_code: int, *, is_busy: bool = False) -> dict[str, Any]:
    """Make the part of a line that says why a call, or the connection, has failed."""
    return {"error": {"sentence": shortened(sentence), "exit": exit_code, **({"busy": True} if is_busy else {})}}


def shortened(sentence: str) -> str:
    """Cut a sentence that has something very long in it, such as what the peer has sent."""
    return sentence if len(sentence) <= _LONGEST_SENTENCE else f"{sentence[:_LONGEST_SENTENCE]}…"


def refusal(message: Mapping[str, object]) -> Refused | None:
    """Read the error in a daemon's line, if it is one."""
    if "error" not in message:
        return None
    body = message["error"] if isinstance(message["error"], dict) else {}
    sentence, code = body.get("sentence"), body.get("exit")
    if not isinstance(sentence, str) or type(code) is not int or not 0 < code < 256:
        return Refused(tr("the daemon's answer cannot be understood: see its log"), FAULT)
    return (Busy if body.get("busy") is True else Refused)(sentence, code)
