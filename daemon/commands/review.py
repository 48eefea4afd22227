"""``python -m daemon review``: serve a page on which images are looked at and decided."""

from __future__ import annotations

import argparse
import getpass
import re
import signal
import sys
import time
import webbrowser
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from daemon.commands.calling import EXIT_NOT_RUNNING, find_daemon, operate, operate_by_daemon
from daemon.commands.filters import FiledOutput, add_place
from daemon.monitoring.logs import start_logging
from daemon.operations.desk import Operation, Params
from daemon.review.keys import PASSWORD_FILE, Keys, set_password
from daemon.review.place import GRACE_SECONDS, ReviewedOutput
from models.allowed import allow_plugins
from models.errors import UserError
from models.text.commandline import Parser
from models.text.invocation import spelled
from models.text.language import tr

if TYPE_CHECKING:
    from daemon.review.serving import Address

DEFAULT_ADDRESS = "127.0.0.1:8470"
#: Seconds in which a daemon must greet, so that the page never waits long.
_GREETING_SECONDS = 2.0
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


class NoPage(UserError):
    """No page runs there to which a link would lead."""

    exit_code = EXIT_NOT_RUNNING


def main(arguments: list[str]) -> int:
    """Serve the page until a signal; returns the exit code."""
    options = _parser().parse_args(arguments)
    place = FiledOutput(options)
    start_logging("WARNING", as_json=False)
    if options.set_password:
        return _set_password(place.journal.parent)
    if options.link:
        print(_link(options, place.journal.parent))
        return 0
    return _serve(options, _reviewed(place))


def _reviewed(place: FiledOutput) -> ReviewedOutput:
    seen = -float("inf")

    def is_running() -> bool:
        nonlocal seen
        client = find_daemon(place.settings, patience=_GREETING_SECONDS)
        if client is None:
            return False
        client.close()
        seen = time.monotonic()
        return True

    def carry_out(method: str, params: Params) -> Operation:
        # A daemon that ends at this moment may be started again at once: it must find its locks free.
        if time.monotonic() - seen < GRACE_SECONDS:
            return (yield from operate_by_daemon(place, method, params))
        return (yield from operate(place, method, params))

    return ReviewedOutput(
        settings=place.settings,
        journal=place.journal,
        roots=place.roots,
        operate=carry_out,
        is_running=is_running,
    )


def _serve(options: argparse.Namespace, place: ReviewedOutput) -> int:
    # Not at the top: no other command loads a server.
    from daemon.review.review import door_for, link, serving
    from daemon.review.serving import base_of, listen

    address, hosts = check_door(options)
    allow_plugins(place.settings.plugins)
    if not address.is_local:
        if not (place.state / PASSWORD_FILE).exists():
            command = spelled("python -m daemon review --set-password")
            raise UserError(tr("other machines are let in by a password only: set one with {command}", command=command))
        logger.warning(
            tr("what goes to other machines can be read on the way: put a proxy with TLS before this server")
        )
    with closing(listen(address)) as listener:
        door = door_for(address, listener, hosts, options.prefix)
        with serving(place, door) as served:

            def end(*_: object) -> None:
                served.server.should_exit = True

            for number in (signal.SIGTERM, signal.SIGINT):
                # Before the server has handlers of its own, and after: it ends by a signal, and then raises it again,
                # but all that follows here is to be done all the same.
                signal.signal(number, end)
            port = address.port if address.path is not None else listener.getsockname()[1]
            url = link(served, base_of(address, port, hosts))
            print(tr("Open this link, which is good once and for ten minutes: {link}", link=url), flush=True)
            if options.open:
                webbrowser.open(url)
            served.server.run(sockets=[listener])
    if address.path is not None:
        address.path.unlink(missing_ok=True)
    return 0


def _link(options: argparse.Namespace, state: Path) -> str:
    from daemon.review.serving import base_of, is_served

    address, hosts = check_door(options)
    base = base_of(address, address.port, hosts)
    if not is_served(address):
        raise NoPage(
            tr(
                "no review page runs at {where}: start one with {command}, which prints a link; or give the --listen "
                "of the one that runs",
                where=options.listen,
                command=spelled("python -m daemon review"),
            )
        )
    return f"{base}{options.prefix}/enter/{Keys.load(state).new_link()}"


def _hosts(options: argparse.Namespace) -> list[str]:
    for host in options.host:
        if not _HOST.fullmatch(host):
            raise UserError(tr("'{host}' is no name of a host: give one such as photos.example", host=host))
    if not _PREFIX.fullmatch(options.prefix):
        raise UserError(tr("'{prefix}' is no path prefix: give one such as /photos", prefix=options.prefix))
    return [str(host).lower() for host in options.host]


def _set_password(state: Path) -> int:
    if sys.stdin.isatty():
        password = getpass.getpass(tr("New password: "))
        if getpass.getpass(tr("Once more: ")) != password:
            raise UserError(tr("the two passwords differ: nothing was changed"))
    else:
        password = sys.stdin.readline().rstrip("\n")
    set_password(state, password)
    print(tr("The password is set. Start the server again; everybody has to enter again then."))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon review",
        description=tr(
            "Serve a page for looking at filed images and deciding: to go through the unsure ones, correct "
            "mistakes, and audit what was filed. The daemon may run. The command prints a link that lets one "
            "browser in."
        ),
    )
    add = parser.add_argument
    add("--open", action="store_true", help=tr("open the link in the browser of this machine"))
    add_door(parser)
    add("--link", action="store_true", help=tr("print a new link for the server that runs, and end"))
    add("--set-password", action="store_true", help=tr("set the password for other machines, read from the terminal"))
    add_place(parser)
    return parser


def add_door(parser: Parser, default: str | None = DEFAULT_ADDRESS) -> None:
    """Add the options that say where the page is reached. ``default``: of the address."""
    add = parser.add_argument
    add(
        "--listen",
        default=default,
        metavar="ADDRESS",
        help=tr("{address}, another address and port, or unix:PATH for a reverse proxy", address=DEFAULT_ADDRESS),
    )
    add(
        "--prefix", default="", metavar="PATH", help=tr("what all addresses begin with behind a proxy, such as /photos")
    )
    add(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help=tr("a name by which browsers call this server, such as photos.example; may be repeated"),
    )


def check_door(options: argparse.Namespace) -> tuple[Address, list[str]]:
    """Check where the page is to be reached; returns the address and the names. Raises `UserError`."""
    from daemon.review.serving import base_of, parse_address

    address, hosts = parse_address(options.listen), _hosts(options)
    base_of(address, address.port, hosts)
    return address, hosts
