"""Whatever peers send, the server answers it or drops them, and stays as it was."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.daemon.control.desk import GREETING, ControlDesk, control_desk
from tests.processes import opened, wait_for

_LINES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=50).map(lambda text: json.dumps(text).encode()),
    st.fixed_dictionaries(
        {},
        optional={
            "imagesortd": st.integers() | st.none() | st.just(1),
            "language": st.text(max_size=3) | st.integers(),
            "id": st.integers() | st.text(max_size=3) | st.none() | st.lists(st.integers(), max_size=2),
            "method": st.sampled_from(["status", "count", "rescan", "", "\0", "x" * 300]) | st.integers(),
            "params": st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2) | st.none(),
        },
    ).map(lambda message: json.dumps(message).encode()),
    st.integers(1, 2000).map(lambda depth: b'{"id":' + b"[" * depth),
)


def _fuzz(desk: ControlDesk, lines: list[bytes], greets: bool) -> None:
    with desk.raw() as raw, suppress(ConnectionError):
        raw.read()
        if greets:
            raw.send(GREETING)
        for line in lines:
            raw.send(line + b"\n")
        raw.socket.shutdown(socket.SHUT_WR)
        while (answer := raw.read()) is not None:
            assert {"result", "item"} & set(answer) or answer["error"]["sentence"]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlDesk]:
    with control_desk(tmp_path_factory.mktemp("fuzz")) as desk:
        yield desk


@given(lines=st.lists(_LINES, max_size=5), greets=st.booleans())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_sent_each_line_is_answered_or_the_peer_is_dropped(
    fuzzed: ControlDesk, lines: list[bytes], greets: bool
) -> None:
    _fuzz(fuzzed, lines, greets)
    assert fuzzed.call("status")[1] == {"waiting": 3}


@pytest.mark.slow
def test_ten_thousand_fuzzed_lines_leave_nothing_behind(tmp_path: Path) -> None:
    with control_desk(tmp_path) as desk:

        @given(lines=st.lists(_LINES, min_size=10, max_size=10), greets=st.booleans())
        @settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
        def fuzz(lines: list[bytes], greets: bool) -> None:
            _fuzz(desk, lines, greets)

        desk.call("status")
        before, resident = opened(), _resident()
        fuzz()
        assert desk.call("count", n=3)[1] == {"count": 3}
        wait_for(lambda: len(opened()) <= len(before), "all are closed")
        assert _resident() - resident < 64 << 20  # hypothesis keeps some of it


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
