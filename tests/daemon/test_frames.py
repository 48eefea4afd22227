"""Heads and bytes between two processes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from daemon.frames import Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), theirs


def test_heads_and_bytes_arrive_in_order(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    peer = Channel(other)
    peer.send({"path": "/in\nbox/\udcff한.jpg"}, memoryview(b"abc"), memoryview(b"de"))
    peer.send({})
    assert channel.receive() == {"path": "/in\nbox/\udcff한.jpg"}
    body = bytearray(5)
    channel.fill(memoryview(body))
    assert body == b"abcde"
    assert channel.receive() == {}


@pytest.mark.parametrize("nonsense", [b"\0\0\0\2[]", b"\0\0\0\1{", b"\0\0\0\2\xff\xfe", struct.pack("!I", 1 << 30)])
def test_nonsense_is_a_value_error(ends: tuple[Channel, socket.socket], nonsense: bytes) -> None:
    channel, other = ends
    other.sendall(nonsense)
    with pytest.raises(ValueError):  # noqa: PT011 - of json, of struct or ours
        channel.receive()


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\2{"])
def test_the_other_side_ending_is_an_os_error(ends: tuple[Channel, socket.socket], sent: bytes) -> None:
    channel, other = ends
    other.sendall(sent)
    other.close()
    with pytest.raises(ConnectionError):
        channel.receive()


def test_silence_has_its_limit_also_in_the_middle(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    channel.allow(0.3)
    other.sendall(b"\0\0\0\2{")
    with pytest.raises(TimeoutError):
        channel.receive()


def test_a_talk_that_is_shut_ends_for_whoever_waits(ends: tuple[Channel, socket.socket]) -> None:
    channel, _ = ends
    channel.shut()
    channel.shut()
    with pytest.raises(ConnectionError):
        channel.receive()
