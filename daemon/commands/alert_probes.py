"""Check that alarms reach somebody: what sends them, whether it runs, and who can read the addresses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from daemon.alerts.addresses import Address, addresses, files, is_installed
from daemon.alerts.ledger import LEDGER_FILE, read_ledger
from daemon.commands.probes import Finding, fine, note, wrong
from daemon.config import Settings
from daemon.journal.alarms import is_sent
from daemon.state import find_journal
from models.errors import UserError
from models.text.language import tr

_OTHERS_MAY_READ = 0o004


def alert_findings(settings: Settings, config: Path | None) -> Iterator[Finding]:
    """Check that alarms get through to their addresses; ``config``: the configuration file that was read."""
    yield from _readers(settings, config)
    try:
        found = addresses(settings)
    except UserError as error:
        yield wrong("alerts", str(error), tr("let the daemon's user read it, or root where the unit sends alarms"))
        return
    if not found:
        text = tr("alarms are only in the log, in status and in python -m daemon alarms: nobody is told")
        yield note("alerts", text, tr("name addresses as alerts in config.toml, which explains them"))
        return
    if not is_installed():
        yield wrong("alerts", tr("what sends alarms is not installed"), "pip install '.[alerts]'")
        return
    yield from _delivery(settings, found)


def _readers(settings: Settings, config: Path | None) -> Iterator[Finding]:
    """Find files with addresses that others may read."""
    with_addresses = [*([config] if settings.alerts and config is not None else []), *files(settings)]
    for file in with_addresses:
        try:
            is_open = file.stat().st_mode & _OTHERS_MAY_READ
        except OSError:
            continue
        if is_open:
            text = tr("{file} has addresses that may hold passwords, and everybody here may read it", file=file)
            yield wrong("alerts", text, tr("let only its owner read it: chmod o-r {file}", file=file))


def _delivery(settings: Settings, found: list[Address]) -> Iterator[Finding]:
    journal = find_journal(settings.state_dir, settings.output)
    names = ", ".join(address.service for address in found)
    if journal is None:
        yield note("alerts", tr("alarms will be sent to {names}; no daemon has run here yet", names=names))
        return
    if not is_sent(journal):
        yield wrong(
            "alerts",
            tr("nobody sends alarms to {names}", names=names),
            tr("start python -m daemon alerts, or write its unit: python -m daemon unit --alerts --install"),
        )
        return
    ledger = read_ledger(journal.with_name(LEDGER_FILE)).addresses
    failing = [address for address in found if (known := ledger.get(address.key)) and known.failing is not None]
    for address in failing:
        known = ledger[address.key]
        assert known.failing is not None
        text = tr(
            "{address}: nothing has got through since {time}: {why}",
            address=address.name,
            time=time.strftime("%Y-%m-%d %H:%M", time.localtime(known.failing)),
            why=known.why or "",
        )
        yield wrong("alerts", text, tr("correct the address, and try it: python -m daemon alerts --test"))
    if not failing:
        yield fine("alerts", tr("alarms are sent to {names}", names=names))
