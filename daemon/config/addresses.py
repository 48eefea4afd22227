"""Addresses on this machine at which the metrics may be served."""

from __future__ import annotations

import ipaddress

from models.text.language import mark, tr

_WANTED = mark("give 127.0.0.1:PORT or [::1]:PORT, or the absolute path of a UNIX socket")


def check_address(address: str) -> str:
    """Check an address to listen on: a path, or HOST:PORT on this machine. Raises ValueError with what is valid."""
    if address and not address.startswith("/"):
        host, port = host_and_port(address)
        if not ipaddress.ip_address(host).is_loopback or not 0 <= port < 65536:
            raise ValueError(tr(_WANTED))
    return address


def host_and_port(address: str) -> tuple[str, int]:
    """Split HOST:PORT. Raises ValueError with what is valid."""
    host, _, port = address.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        ipaddress.ip_address(host)
        return host, int(port)
    except ValueError as error:
        raise ValueError(tr(_WANTED)) from error
