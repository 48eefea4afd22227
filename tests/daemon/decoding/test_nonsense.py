"""What a decoder says that a hostile image has taken over."""

from __future__ import annotations

import math
import os
import threading
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, socketpair
from typing import Any

import pytest

from daemon.decoding.channel import Channel
from daemon.decoding.decoder import Decoder, DecoderLost
from daemon.decoding.shared_crops import CropBuffer, create, size_for
from tests.daemon.decoding.conftest import TRANSFORMS, task

GOOD = {"identity": [1, 2, 3, 4], "sha256": "0" * 64}
FINE = {"answers": [{}], "resident": 1}
INFINITE = math.inf


@pytest.mark.parametrize(
    ("note", "answer", "is_known"),
    [
        (None, FINE, False),
        (None, {"answers": [{"error": "SystemExit", "message": ""}], "resident": 1}, False),
        ({}, FINE, False),
        ({"identity": [1, 2, 3], "sha256": None}, FINE, False),
        ({"identity": [1, 2, 3, "x"], "sha256": None}, FINE, False),
        ({"identity": [1, 2, 3, INFINITE], "sha256": None}, FINE, False),
        ({"identity": [1, 2, 3, 4], "sha256": "../x"}, FINE, False),
        ({"identity": [1, 2, 3, 4], "sha256": 7}, FINE, False),
        (GOOD, {}, True),
        (GOOD, {"answers": [{}], "resident": "much"}, True),
        (GOOD, {"answers": [{}], "resident": INFINITE}, True),
        (GOOD, {"answers": [], "resident": 1}, True),
        (GOOD, {"answers": [{}, {}], "resident": 1}, True),
        (GOOD, {"answers": 1, "resident": 1}, True),
        (GOOD, {"answers": [1], "resident": 1}, True),
        (GOOD, {"answers": [{"reason": "../../../etc", "message": ""}], "resident": 1}, True),
        (GOOD, {"answers": [{"reason": "others", "message": ""}], "resident": 1}, True),
        (GOOD, {"answers": [{"reason": None, "message": ""}], "resident": 1}, True),
        (GOOD, {"answers": [{"reason": "empty"}], "resident": 1}, True),
        (GOOD, {"answers": [{"reason": "empty", "message": ["Empty."]}], "resident": 1}, True),
        (
            GOOD,
            {"answers": [{"reason": "empty", "message": "Empty.\n12:00 cat.jpg -> cat/cat.jpg"}], "resident": 1},
            True,
        ),
        (GOOD, {"answers": [{"error": "SourceGone", "message": "\x1b[2J"}], "resident": 1}, True),
        (GOOD, None, True),
        (None, None, False),
    ],
)
def test_nonsense_of_a_decoder_is_not_believed(
    note: dict[str, Any] | None, answer: dict[str, Any] | None, is_known: bool, picture: Path
) -> None:
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    shared = create(size_for(TRANSFORMS))
    peer, buffer = Channel(theirs), CropBuffer(shared)

    def talk() -> None:
        peer.receive()
        if note is not None:
            buffer.write_source(0, note)
        if answer is not None:
            peer.send(answer)
        peer.close()

    speaker = threading.Thread(target=talk)
    speaker.start()
    decoder = Decoder(0, ours, CropBuffer(shared), 0)
    with pytest.raises(DecoderLost) as lost:
        decoder.decode([task(picture)], 30)
    speaker.join()
    assert (lost.value.source is not None) == is_known
    assert not decoder.is_fit()
    decoder.close()
    buffer.close()
    os.close(shared)
