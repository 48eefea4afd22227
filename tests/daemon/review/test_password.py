"""Who knows the password is let in, who guesses is not, and keeps nobody else waiting."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.review import application
from daemon.review.keys import KEY_FILE, PASSWORD_FILE, Keys, set_password
from models.errors import UserError
from tests.daemon.review.browser import Browser, Page, Reviewed, open_page

PASSWORD = "비밀번호는 길게"


@pytest.fixture
def guarded(reviewed: Reviewed) -> Reviewed:
    set_password(reviewed.place().state, PASSWORD)
    return reviewed


def _enter(browser: Browser, password: object) -> int:
    answer = browser.post("/api/password", {"password": password})
    if "set-cookie" in answer.headers:
        browser.cookie = answer.headers["set-cookie"].partition(";")[0]
    return answer.status


def test_the_password_lets_in_and_no_other(guarded: Reviewed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "WRONG_PASSWORD_SECONDS", 0.0)
    with open_page(guarded) as page:
        stranger = page.stranger()
        assert b'type="password"' in stranger.get("/").content
        for wrong in ("", "a wrong one", PASSWORD[:-1], PASSWORD + " ", "\0", "x" * 1024):
            assert _enter(stranger, wrong) == 401, wrong
            assert stranger.cookie is None
        for malformed in ("x" * 1025, None, 1, ["x"]):
            assert _enter(stranger, malformed) == 400
        assert stranger.get("/api/unsure").status == 401
        assert _enter(stranger, PASSWORD) == 200
        assert len(stranger.unsure()) == 2


def test_the_cookie_of_a_password_is_as_strict_as_that_of_a_link(guarded: Reviewed) -> None:
    with open_page(guarded) as page:
        answer = page.stranger().post("/api/password", {"password": PASSWORD}, **{"X-Forwarded-Proto": "https"})
        cookie = answer.headers["set-cookie"]
        assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Secure"))
        for origin in ("http://evil.example", "null"):
            assert page.stranger().post("/api/password", {"password": PASSWORD}, Origin=origin).status == 403


def test_the_same_letters_are_the_same_password_in_every_system(guarded: Reviewed) -> None:
    apart = unicodedata.normalize("NFD", PASSWORD)
    assert apart != PASSWORD
    with open_page(guarded) as page:
        assert _enter(page.stranger(), apart) == 200


def test_without_a_password_none_is_asked_for_and_none_lets_in(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "WRONG_PASSWORD_SECONDS", 0.0)
    assert b'type="password"' not in page.stranger().get("/").content
    for guess in ("", "null", "{}"):
        assert _enter(page.stranger(), guess) == 401


def test_many_who_guess_keep_nobody_else_waiting(guarded: Reviewed, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, free = threading.Semaphore(0), threading.Event()
    check: Callable[[Keys, str], str | None] = Keys.enter_with_password

    def check_slowly(self: Keys, password: str) -> str | None:
        entered.release()
        assert free.wait(300)
        return check(self, password)

    monkeypatch.setattr(Keys, "enter_with_password", check_slowly)
    monkeypatch.setattr(application, "WRONG_PASSWORD_SECONDS", 0.0)
    with open_page(guarded) as page:
        statuses: list[int] = []
        guessing = [
            threading.Thread(target=lambda: statuses.append(_enter(page.stranger(), "guess"))) for _ in range(50)
        ]
        try:
            for thread in guessing:
                thread.start()
            assert entered.acquire(timeout=300)
            assert len(page.browser.unsure()) == 2
            assert not entered.acquire(blocking=False), "one is tried at a time"
        finally:
            free.set()
        for thread in guessing:
            thread.join(300)
        assert set(statuses) == {401, 429}
        assert _enter(page.stranger(), PASSWORD) == 200


def test_a_wrong_password_costs_a_pause(guarded: Reviewed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "WRONG_PASSWORD_SECONDS", 0.5)
    with open_page(guarded) as page:
        started = time.monotonic()
        assert _enter(page.stranger(), "a wrong one") == 401
        assert time.monotonic() - started >= 0.5


def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        set_password(tmp_path, PASSWORD)
        Keys.load(tmp_path)
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        PASSWORD_FILE: 0o600,
        KEY_FILE: 0o600,
    }
    assert PASSWORD not in (tmp_path / PASSWORD_FILE).read_text()


def test_a_new_password_ends_the_sessions_of_the_old_one(tmp_path: Path) -> None:
    set_password(tmp_path, PASSWORD)
    session = Keys.load(tmp_path).enter_with_password(PASSWORD)
    assert session is not None
    assert Keys.load(tmp_path).is_session(session)
    set_password(tmp_path, "another one")
    assert not Keys.load(tmp_path).is_session(session)
    assert Keys.load(tmp_path).enter_with_password(PASSWORD) is None
    with pytest.raises(UserError, match="too short"):
        set_password(tmp_path, "short")
    assert Keys.load(tmp_path).enter_with_password("another one") is not None


@pytest.mark.parametrize("damaged", [b"", b"\0" * 32, b"short"], ids=["empty", "zeros", "short"])
def test_a_key_that_a_power_cut_has_torn_is_made_anew(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / KEY_FILE).write_bytes(damaged)
    made = Keys.load(tmp_path)
    assert (tmp_path / KEY_FILE).read_bytes() not in (damaged, b"\0" * 32)
    link = made.new_link()
    assert Keys.load(tmp_path, lambda: 0.0).enter(link) is not None


KILLED = """
import os, signal, sys
from pathlib import Path
state, call, what = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, call, die)
from daemon.review.keys import Keys, set_password
Keys.load(state) if what == "key" else set_password(state, "another one")
"""


@pytest.mark.parametrize("call", ["fsync", "fchmod", "rename"])
def test_a_password_is_there_whole_or_as_before_when_it_is_killed(tmp_path: Path, call: str) -> None:
    set_password(tmp_path, PASSWORD)
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path, call, "password"], check=False)
    assert killed.returncode < 0
    assert Keys.load(tmp_path).enter_with_password(PASSWORD) is not None
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}


@pytest.mark.parametrize("call", ["fsync", "fchmod"])
def test_a_key_is_there_whole_or_not_when_it_is_killed(tmp_path: Path, call: str) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path, call, "key"], check=False).returncode < 0
    assert not (tmp_path / KEY_FILE).exists()
    Keys.load(tmp_path)
    assert len((tmp_path / KEY_FILE).read_bytes()) == 32
