"""``python -m daemon alerts``: send alarms to people, from a process of its own beside the daemon."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from loguru import logger

from daemon import config
from daemon.alerts.addresses import Address, addresses, files, require_apprise
from daemon.alerts.outlet import Message, NotSent, require_known, send
from daemon.alerts.sender import AlertSender
from daemon.commands.options import add_settings, given
from daemon.config import Settings
from daemon.monitoring.logs import start_logging
from daemon.state import journal_of
from models.errors import UserError
from models.text.commandline import EXIT_LEFT_BEHIND, Parser
from models.text.language import tr


def main(arguments: list[str]) -> int:
    """Send alarms until a signal; returns the exit code."""
    parser = Parser(
        prog="python -m daemon alerts",
        description=tr(
            "Send the alarms of the daemon that files into the output folder to the addresses of alerts and "
            "alerts_file. It runs beside the daemon until it is stopped."
        ),
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--once", action="store_true", help=tr("send what is due, and end; exit code 3: not all got it"))
    which.add_argument("--test", action="store_true", help=tr("send a test message to each address, and end"))
    add_settings(parser, ("output", "state_dir", "alerts", "alerts_file", "log_level", "log_json"))
    options = vars(parser.parse_args(arguments))
    once, test = options.pop("once"), options.pop("test")
    flags, file = given(options)
    settings = config.load(flags, file)
    start_logging(settings.log_level, as_json=settings.log_json)
    require_apprise()
    if not addresses(settings):
        raise UserError(
            tr("there is no address to send alarms to: name some as alerts in config.toml, or in a file as alerts_file")
        )
    if test:
        return _test(addresses(settings))
    _check(addresses(settings))

    def load() -> Sequence[Address]:
        return addresses(config.load(flags, file))

    sender = AlertSender(journal_of(settings.state_dir, settings.output), load, lambda: _stamps(settings, file))
    if once:
        return EXIT_LEFT_BEHIND if sender.run_once() else 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sender.stop())
    sender.run()
    return 0


def _check(found: Sequence[Address]) -> None:
    """Say of each address that is none what to do. Raises `UserError` where none is an address."""
    wrong = []
    for address in found:
        try:
            require_known(address.url)
        except NotSent as error:
            wrong.append(f"{address.name}: {error}")
    if len(wrong) == len(found):
        raise UserError("; ".join(wrong))
    for sentence in wrong:
        logger.warning(sentence)


def _test(found: Sequence[Address]) -> int:
    failures = 0
    for address in found:
        try:
            send(address.url, Message(tr("imagesortd: test"), tr("Alarms will be sent here."), over=True))
        except NotSent as error:
            failures += 1
            print(tr("{address}: NOT SENT: {why}", address=address.name, why=str(error)))
        else:
            print(tr("{address}: sent", address=address.name))
    return EXIT_LEFT_BEHIND if failures else 0


def _stamps(settings: Settings, file: Path | None) -> list[tuple[int, int] | None]:
    """Return what changes when a file with addresses does."""
    used = config.used_file(file)
    stamps: list[tuple[int, int] | None] = []
    for path in [*([used] if used is not None else []), *files(settings)]:
        try:
            status = path.stat()
            stamps.append((status.st_ino, status.st_mtime_ns))
        except OSError:
            stamps.append(None)
    return stamps
