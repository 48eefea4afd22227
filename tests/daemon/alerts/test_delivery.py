"""Each address gets each event once, in order, whatever becomes of the others and of the process that sends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger
from pydantic import SecretStr

from daemon.__main__ import main
from daemon.alerts.addresses import Address, addresses
from daemon.alerts.delivery import MOST_PENDING, RETRIES, Delivery
from daemon.alerts.ledger import LedgerFile, read_ledger
from daemon.alerts.outlet import Message, NotSent
from daemon.alerts.sender import AlertSender
from daemon.config import load
from daemon.journal.alarms import AlarmEvent, is_sent, sender_lock
from daemon.journal.journal import Journal
from models.errors import UserError

SECRET = "ntfy://user:hush@localhost/topic"


class Post:
    """Takes messages, or refuses them."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.why: str | None = None

    def __call__(self, url: SecretStr, message: Message) -> None:
        if self.why is not None:
            raise NotSent(self.why)
        self.bodies.append(message.body)


class Office:
    """A journal with alarms, and deliveries of what is in it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.sqlite"
        self.journal = Journal(self.path)
        self.journal.identity()
        self.post = Post()
        self.address = Address(SecretStr(SECRET), 1)

    def alarm(self, folder: str, *, over: bool = False) -> None:
        event = AlarmEvent(cause="disk", subject=folder, over=over, details={"free_mb": 7})
        self.journal.write_alarms([event])

    def delivery(self) -> Delivery:
        """As after a restart."""
        ledger = LedgerFile(self.path.with_name("alerts.json"))
        ledger.use_journal(self.journal.identity(), {self.address.key})
        return Delivery(self.address, self.path, ledger, post=self.post)

    def deliver(self, delivery: Delivery) -> list[str]:
        """Deliver all that is due, and return what was sent meanwhile, by the folders it is about."""
        before = len(self.post.bodies)
        while delivery.step() == 0.0:
            pass
        return [body.partition("of ")[2].split()[0] for body in self.post.bodies[before:]]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.journal.close()


def test_what_is_wrong_already_is_sent_and_then_what_comes_each_once(office: Office) -> None:
    office.alarm("/gone")
    office.alarm("/gone", over=True)
    office.alarm("/full")
    delivery = office.delivery()
    assert office.deliver(delivery) == ["/full"]
    office.alarm("/other")
    assert office.deliver(delivery) == ["/other"]
    office.alarm("/full", over=True)
    assert office.deliver(office.delivery()) == ["/full"], "after a restart"
    assert office.deliver(office.delivery()) == []


def test_a_dead_server_is_tried_again_later_and_gets_all_in_order(office: Office, log: list[str]) -> None:
    delivery = office.delivery()
    assert office.deliver(delivery) == []
    office.post.why = "its server cannot be reached"
    for folder in ("/a", "/b", "/c"):
        office.alarm(folder)
    pauses = [delivery.step() for _ in range(20)]
    assert pauses[0] == RETRIES.first
    assert pauses[-1] == RETRIES.last
    (line,) = log
    assert line == "alert 1 (ntfy): its server cannot be reached; it is tried again"
    known = read_ledger(office.path.with_name("alerts.json")).addresses[office.address.key]
    assert known.failing is not None
    assert known.why == "its server cannot be reached"
    office.post.why = None
    assert office.deliver(office.delivery()) == ["/a", "/b", "/c"]
    assert read_ledger(office.path.with_name("alerts.json")).addresses[office.address.key].failing is None


def test_of_many_events_the_last_ones_are_sent_and_the_others_counted(office: Office) -> None:
    delivery = office.delivery()
    office.deliver(delivery)
    for number in range(MOST_PENDING + 5):
        office.alarm(f"/{number}")
    assert delivery.step() == 0.0
    assert office.post.bodies[0].startswith("5 more alarms began or ended")
    assert office.deliver(delivery) == [f"/{number}" for number in range(6, MOST_PENDING + 5)]
    assert f"/{5} " in office.post.bodies[1]


def test_a_new_journal_begins_anew(office: Office, tmp_path: Path) -> None:
    office.alarm("/full")
    assert office.deliver(office.delivery()) == ["/full"]
    office.journal.close()
    for file in tmp_path.glob("journal.sqlite*"):
        file.unlink()
    other = Journal(office.path)
    other.identity()
    other.write_alarms([AlarmEvent(cause="disk", subject="/again", over=False, details={"free_mb": 7})])
    office.journal = other
    assert office.deliver(office.delivery()) == ["/again"]


def test_nothing_secret_is_kept_or_said(office: Office, tmp_path: Path) -> None:
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(str(message)), level="DEBUG")
    try:
        office.alarm("/full")
        office.post.why = "its server answered with error 403"
        office.delivery().step()
    finally:
        logger.remove(handler)
    text = "".join(lines) + tmp_path.joinpath("alerts.json").read_text() + repr(office.address)
    assert "hush" not in text
    assert "topic" not in text


def test_addresses_come_from_the_settings_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "addresses"
    file.write_text("# mine\nmqtt://localhost/b\n\nntfy://localhost/a\n")
    settings = load(
        {"alerts": ["ntfy://localhost/a", "mailto://u:p@example.org?to=a@b.c,d@e.f"], "alerts_file": str(file)}
    )
    assert [(address.number, address.service) for address in addresses(settings)] == [
        (1, "ntfy"),
        (2, "mailto"),
        (3, "mqtt"),
    ]
    with pytest.raises(UserError, match="alerts_file: .* cannot be read"):
        addresses(load({"alerts_file": str(tmp_path / "none")}))


def test_a_credential_of_systemd_takes_the_place_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("alerts").write_text("mqtt://localhost/b\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = load({"alerts_file": "/root/not/for/us"})
    assert [address.service for address in addresses(settings)] == ["mqtt"]


def test_a_value_that_is_no_list_of_addresses_is_refused_without_showing_it() -> None:
    with pytest.raises(UserError, match="alerts is not valid: give a list of addresses") as caught:
        load({"alerts": {"hush": 1}})
    assert "hush" not in str(caught.value)
    assert "hush" not in repr(load({"alerts": SECRET}))


def test_two_processes_do_not_send_the_same(office: Office) -> None:
    assert not is_sent(office.path)
    sender = AlertSender(office.path, lambda: [office.address])
    with sender_lock(office.path).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_sent(office.path)
        with pytest.raises(UserError, match="another process sends these alarms already"):
            sender.run_once()


def test_an_address_of_no_service_is_said_at_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("apprise")
    file = tmp_path / "addresses"
    file.write_text("htp:/hush\nnosuch://hush\n")
    options = ["alerts", "--once", "--output", str(tmp_path), "--state-dir", str(tmp_path), "--alerts-file", str(file)]
    with pytest.raises(UserError, match=r"alert 1 \(no address\): it is no address .*; alert 2 \(nosuch\): it is no"):
        main(options)
    file.write_text("nosuch://hush\njson://localhost:1\n")
    assert main(options) == 0
    error = capsys.readouterr().err
    assert "alert 1 (nosuch): it is no address" in error
    assert "hush" not in error
