"""Messages between two processes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from daemon.decoding.channel import Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield Channel(ours, 0.3), theirs


def test_messages_arrive_in_order_and_apart(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    peer = Channel(other)
    longest = "/" + "\udcff" * 4095  # of six bytes each
    peer.send({"path": "/in\nbox/\udcff한.jpg"})
    peer.send({})
    peer.send({"path": longest})
    assert channel.receive() == {"path": "/in\nbox/\udcff한.jpg"}
    assert channel.receive() == {}
    assert channel.receive() == {"path": longest}


@pytest.mark.parametrize(
    "nonsense", [b"[]", b"{", b"\xff\xfe", b'{"too": "' + b"l" * (1 << 16) + b'ong"}', b"[" * 60_000]
)
def test_nonsense_is_a_value_error(ends: tuple[Channel, socket.socket], nonsense: bytes) -> None:
    channel, other = ends
    other.sendall(nonsense)
    with pytest.raises(ValueError):  # noqa: PT011 - of json or ours
        channel.receive()


def test_the_other_side_ending_is_an_os_error(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.close()
    with pytest.raises(ConnectionError):
        channel.receive()


def test_silence_has_its_limit(ends: tuple[Channel, socket.socket]) -> None:
    channel, _ = ends
    with pytest.raises(TimeoutError):
        channel.receive()


def test_a_talk_that_is_shut_ends_for_whoever_waits(ends: tuple[Channel, socket.socket]) -> None:
    channel, _ = ends
    channel.shut()
    channel.shut()
    with pytest.raises(ConnectionError):
        channel.receive()
