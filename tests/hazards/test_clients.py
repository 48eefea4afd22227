"""Four clients speak to a running daemon at once, while pictures keep coming."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.four_clients import CLIENTS, Arrivals, Client, Station, losses, release_all, work_at_once
from tests.processes import daemon


@pytest.mark.parametrize("calls", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_nothing_is_lost_or_doubled_and_every_answer_is_true(calls: int, tmp_path: Path) -> None:
    station = Station(tmp_path)
    clients = [Client(station, number) for number in range(CLIENTS)]
    with daemon(tmp_path, "--threshold", "0", "--state-dir", str(station.state)):
        coming = Arrivals(station, pause=(0.0, 0.1))
        try:
            coming.come(20)
            threads = work_at_once(clients, calls, threading.Event())
            while any(thread.is_alive() for thread in threads):
                coming.come(4)
            for thread in threads:
                thread.join()
            release_all(station)
        finally:
            coming.close()
    assert [answer for client in clients for answer in client.wrong] == []
    assert sum(client.calls.total() for client in clients) >= calls
    assert losses(station) == {}
