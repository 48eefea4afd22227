"""Addresses that alarms are sent to, and where they are written down.

They hold passwords, so they are never shown: messages name the service of an address, and its place in the list.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from daemon.config import Settings
from models.errors import UserError
from models.text.language import tr

#: Name of the credential of systemd with addresses, one a line.
CREDENTIAL = "alerts"
_LARGEST_FILE = 1 << 20
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9.+-]*(?=://)")


@dataclass(frozen=True)
class Address:
    """One address; ``number`` is its place among all of them, from 1 on."""

    url: SecretStr
    number: int

    @property
    def service(self) -> str:
        """Name of the service, without anything secret."""
        match = _SCHEME.match(self.url.get_secret_value())
        return tr("no address") if match is None else match[0].lower()

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return tr("alert {number} ({service})", number=self.number, service=self.service)

    @property
    def key(self) -> str:
        """The key under which the ledger has it; the address cannot be computed from that."""
        return hashlib.sha256(self.url.get_secret_value().encode()).hexdigest()[:16]


def addresses(settings: Settings) -> list[Address]:
    """List all addresses: those of the settings, of ``alerts_file`` and of systemd's credential. Raises `UserError`."""
    urls = [url.get_secret_value() for url in settings.alerts]
    for file in files(settings):
        urls += _read(file)
    return [Address(SecretStr(url), number) for number, url in enumerate(dict.fromkeys(urls), 1)]


def files(settings: Settings) -> list[Path]:
    """List the files that addresses are read from."""
    credential = credential_file()
    if credential is not None:
        return [credential]  # it is what alerts_file names, which this user need not be able to read
    return [] if settings.alerts_file is None else [settings.alerts_file]


def credential_file() -> Path | None:
    """Return the file of systemd's credential; None without one."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    file = None if folder is None else Path(folder) / CREDENTIAL
    return file if file is not None and file.is_file() else None


def _read(file: Path) -> list[str]:
    try:
        with file.open("rb") as opened:
            text = opened.read(_LARGEST_FILE).decode("utf-8-sig")
    except OSError as error:
        raise UserError(
            tr("alerts_file: {file} cannot be read ({reason}): give one that can", file=file, reason=error.strerror)
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(tr("alerts_file: {file} is not valid UTF-8: save it as UTF-8", file=file)) from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def require_apprise() -> None:
    """Raise UserError where what sends alarms is not installed."""
    if not is_installed():
        raise UserError(tr("nothing here can send alarms: pip install '.[alerts]' in the folder of the clone"))


def is_installed() -> bool:
    """Whether what sends alarms is installed."""
    return importlib.util.find_spec("apprise") is not None
