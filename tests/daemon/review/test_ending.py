"""The server ends as soon as it is told to: whoever waits for something is answered, and nothing is cut off."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

import pytest

from daemon.decoding.decoder import Decoded, DecoderLost, Task
from daemon.decoding.pool import DecoderPool
from daemon.files.source import SourceUnreadable
from daemon.review import application, serving
from daemon.review.keys import Keys, set_password
from daemon.review.views import Views
from tests.daemon.review.browser import Page, Reviewed, open_page
from tests.processes import wait_for


def _statuses(page: Page, asks: list[Callable[[], int]], then: Callable[[], object]) -> list[int]:
    """Ask at once, end the server when it is at work on all, and return what was answered."""
    statuses: list[int] = []
    asking = [threading.Thread(target=lambda ask=ask: statuses.append(ask())) for ask in asks]
    for thread in asking:
        thread.start()
    wait_for(lambda: len(page.served.server.server_state.tasks) == len(asks), "all questions have come")
    page.served.server.should_exit = True
    then()
    for thread in asking:
        thread.join(300)
    return statuses


def test_those_who_wait_for_changes_are_answered(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "LAST_SECONDS", 600)
    with open_page(reviewed) as page:
        ask = [lambda: page.browser.get(f"/api/changes?since={10**9}").status] * 3
        assert _statuses(page, ask, lambda: None) == [503] * 3
    assert caplog.messages == []


def test_those_whose_password_waits_are_answered(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "LAST_SECONDS", 600)
    free = threading.Event()
    check: Callable[[Keys, str], str | None] = Keys.enter_with_password

    def check_slowly(self: Keys, password: str) -> str | None:
        assert free.wait(300)
        return check(self, password)

    monkeypatch.setattr(Keys, "enter_with_password", check_slowly)
    monkeypatch.setattr(application, "WRONG_PASSWORD_SECONDS", 0.0)
    set_password(reviewed.place().state, "long enough")
    with open_page(reviewed) as page:
        ask = [lambda: page.stranger().post("/api/password", {"password": "a guess"}).status] * 3
        assert sorted(_statuses(page, ask, free.set)) == [401, 503, 503]
    assert caplog.messages == []


def test_a_picture_that_takes_long_is_given_up(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "LAST_SECONDS", 600)
    begun = threading.Event()

    def submit(self: DecoderPool, task: Task) -> Future[Decoded]:
        begun.set()
        never: Future[Decoded] = Future()
        waiting.append(never)
        return never

    def close(self: DecoderPool) -> None:
        for never in waiting:
            never.cancel()

    waiting: list[Future[Decoded]] = []
    monkeypatch.setattr(DecoderPool, "submit", submit)
    monkeypatch.setattr(DecoderPool, "close", close)
    with open_page(reviewed) as page:
        (image, _) = page.browser.unsure()
        ask = [lambda: page.browser.get(f"/thumbnails/{image['id']}/256").status]
        assert _statuses(page, ask, begun.wait) == [503]
    assert caplog.messages == []


def test_an_answer_that_is_not_ready_in_time_is_refused_without_a_traceback(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "LAST_SECONDS", 0.1)
    free = threading.Event()
    monkeypatch.setattr(Views, "classes", lambda _: free.wait(300))
    with open_page(reviewed) as page:
        ask = [lambda: page.browser.get("/api/classes").status]
        assert _statuses(page, ask, threading.Timer(1.0, free.set).start) == [503]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("error", [CancelledError(), DecoderLost(0, None, ""), SourceUnreadable("no decoder")])
def test_a_picture_whose_decoder_is_ended_is_to_be_asked_for_again(
    reviewed: Reviewed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def submit(_: DecoderPool, task: Task) -> Future[Decoded]:
        given_up: Future[Decoded] = Future()
        given_up.set_exception(error)
        return given_up

    with open_page(reviewed) as page:
        (image, *_) = page.browser.unsure()
        monkeypatch.setattr(DecoderPool, "submit", submit)
        assert page.browser.get(f"/thumbnails/{image['id']}/256").status == 503
    assert caplog.messages == []
