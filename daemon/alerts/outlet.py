"""Send one message, in a process of its own: whatever a service and its library do, it ends, and holds nothing.

``python -m daemon.alerts.outlet`` reads the address and the message as JSON on standard input, so that no list of
processes shows them, and prints as JSON what came of it. Of what the library logs only that is told which can hold
nothing secret.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass

from pydantic import SecretStr

from models.children import child_environment
from models.text.language import mark, tr

#: Seconds that one message may take.
SECONDS = 60.0
_UNKNOWN, _UNREACHABLE, _REFUSED, _FAILED, _MISSING = "unknown", "unreachable", "refused", "failed", "missing"
_WHY = {
    _UNKNOWN: mark("it is no address that Apprise knows: compare it with its documentation"),
    _UNREACHABLE: mark("its server cannot be reached"),
    _FAILED: mark("its server did not take the message"),
    _MISSING: mark("what sends alarms is not installed: pip install '.[alerts]' in the folder of the clone"),
}
_REFUSED_WITH = mark("its server answered with error {code}")
_TOO_LONG = mark("it took longer than {seconds:g} s")
_CODE = re.compile(r"error[ =](\d{3})\b")


@dataclass(frozen=True)
class Message:
    """What is sent; ``over``: good news."""

    title: str
    body: str
    over: bool


class NotSent(Exception):
    """A message was not sent; the text says why, in words for people and without anything secret."""


def send(url: SecretStr, message: Message) -> None:
    """Send one message; returns when the server has it. Raises `NotSent`."""
    _ask({"url": url.get_secret_value(), **asdict(message)})


def require_known(url: SecretStr) -> None:
    """Check that there is a service of the kind of an address; nothing is sent. Raises `NotSent`."""
    _ask({"url": url.get_secret_value()})


def _ask(told: dict[str, object]) -> None:
    """Have a process of its own carry out what it is told. Raises `NotSent`."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "daemon.alerts.outlet"],
            input=json.dumps(told).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
            env=child_environment(),
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise NotSent(tr(_TOO_LONG, seconds=SECONDS)) from None
    except OSError as error:
        raise NotSent(tr("no process can be started: {reason}", reason=error.strerror)) from None
    try:
        answer = json.loads(done.stdout)
        why, code = str(answer["why"]), int(answer["code"])
    except (ValueError, KeyError, TypeError):
        why, code = _FAILED, 0
    if why == _REFUSED:
        raise NotSent(tr(_REFUSED_WITH, code=code))
    if why:
        raise NotSent(tr(_WHY.get(why, _WHY[_FAILED])))


class _Heard(logging.Handler):
    """Keeps what the library logs, and keeps it from standard error."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _deliver(url: str, message: Message | None) -> tuple[str, int]:
    """Send a message here, if there is one; returns why it cannot be sent, or "", and the code of an error."""
    heard = _Heard()
    logging.basicConfig(handlers=[heard], level=logging.INFO)
    try:
        import apprise
    except ImportError:
        return _MISSING, 0
    outlet = apprise.Apprise()
    if not outlet.add(_confirmed(url)):
        return _UNKNOWN, 0
    if message is None:
        return "", 0
    kind = apprise.NotifyType.SUCCESS if message.over else apprise.NotifyType.WARNING
    if outlet.notify(title=message.title, body=message.body, notify_type=kind):
        return "", 0
    told = "\n".join(heard.lines)
    if code := _CODE.search(told):
        return _REFUSED, int(code[1])
    return (_UNREACHABLE if "onnection" in told or "ocket" in told else _FAILED), 0


def _confirmed(url: str) -> str:
    """Ask an MQTT server to confirm: otherwise the library takes for sent what nobody has received."""
    if re.match(r"mqtts?://", url, re.IGNORECASE) and not re.search(r"[?&]qos=", url, re.IGNORECASE):
        return f"{url}{'&' if '?' in url else '?'}qos=1"
    return url


def main() -> None:
    """Send the message of standard input, or check its address if there is none; end without waiting for threads."""
    told = json.load(sys.stdin)
    url = str(told.pop("url"))
    try:
        why, code = _deliver(url, Message(**told) if told else None)
    except Exception:  # of a plug-in: its text may hold the address
        why, code = _FAILED, 0
    sys.stdout.write(json.dumps({"why": why, "code": code}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
