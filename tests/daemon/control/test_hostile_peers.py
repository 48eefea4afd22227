"""A real daemon that files images while peers of every kind are at its control socket."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from daemon.control.client import ControlClient
from models.errors import UserError
from tests.daemon.conftest import Publish
from tests.pictures import KINDS, save
from tests.processes import daemon, descriptors, family, memory, run, wait_for

_IMAGES = 120
_METHODS = ("status", "rescan", "reload", "undo", "retry", "release", "relabel", "labels", "", "learn")


def _lines(chance: random.Random) -> bytes:
    """Something that may be a call, or begin like one."""
    kind = chance.randrange(5)
    if kind == 0:
        return chance.randbytes(chance.randrange(300)) + b"\n"
    if kind == 1:
        return b'{"id":1,"method":"undo","params":' + b'{"a":' * chance.randrange(3000) + b"\n"
    params: dict[str, object] = {
        chance.choice(["files", "reasons", "class", "x"]): chance.choice([1, None, "y", ["z"], {}])
    }
    call = {"id": chance.choice([1, -1, "1", None]), "method": chance.choice(_METHODS), "params": params}
    line = json.dumps(call).encode()
    return line[: chance.randrange(len(line))] if kind == 2 else line + b"\n"


def _connected(path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(30)
    peer.connect(str(path))
    return peer


def _talks_nonsense(path: Path, chance: random.Random) -> None:
    with _connected(path) as peer:
        if chance.random() < 0.7:
            peer.sendall(b'{"imagesortd":1,"language":"ko"}\n')
        for _ in range(10):
            peer.sendall(_lines(chance))
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            pass


def _never_reads(path: Path, chance: random.Random) -> None:
    with _connected(path) as peer:
        peer.sendall(b'{"imagesortd":1}\n' + b'{"id":1,"method":"status"}\n' * 5000)
        time.sleep(chance.random())


def _only_sits_there(path: Path, chance: random.Random) -> None:
    with ExitStack() as closing:
        for _ in range(25):
            closing.enter_context(_connected(path)).sendall(b'{"imagesortd":1')
        time.sleep(chance.random())


@pytest.mark.slow
def test_whatever_peers_do_the_daemon_files_on_and_stays_as_it_was(tmp_path: Path, publish: Publish) -> None:
    publish(tmp_path / "checkpoints" / "run")
    with daemon(tmp_path, "--state-dir", "state", "--threshold", "0") as running:
        (path,) = (tmp_path / "state").glob("*/control.sock")
        everybody = family(running.process.pid)
        for seed in range(8):
            save(KINDS[seed % 2], seed, tmp_path / "inbox" / f"first{seed}.png")
        wait_for(lambda: not list((tmp_path / "inbox").glob("*.png")), "the first")
        before = descriptors(everybody), memory(everybody)
        over, rounds = threading.Event(), [0]

        def work(kind: Callable[[Path, random.Random], None], seed: int) -> None:
            chance = random.Random(seed)
            while not over.is_set():
                with suppress(OSError):
                    kind(path, chance)
                rounds[0] += 1

        kinds = [_talks_nonsense, _talks_nonsense, _never_reads, _only_sits_there]
        threads = [threading.Thread(target=work, args=(kind, seed)) for seed, kind in enumerate(kinds)]
        for thread in threads:
            thread.start()
        for seed in range(_IMAGES):
            save(KINDS[seed % 2], seed, tmp_path / "inbox" / f"{seed}.png")
            time.sleep(0.1)
        wait_for(lambda: not list((tmp_path / "inbox").glob("*.png")), "all are filed")
        over.set()
        for thread in threads:
            thread.join()

        def answers() -> bool:
            with suppress(UserError), ControlClient(path) as client:
                return "waiting" in client.ask("status")
            return False

        wait_for(answers, "a command comes through")
        assert rounds[0] > 20
        assert len(list((tmp_path / "sorted").rglob("*.png"))) == _IMAGES + 8
        wait_for(lambda: descriptors(everybody) <= before[0] + 1, "descriptors as before")
        assert memory(everybody) < before[1] + (48 << 20)
        assert "Traceback" not in running.log()
        assert "internal error" not in running.log()
        assert running.terminate() == 0
    history = run("daemon", "history", "--state-dir", "state", "--json", cwd=tmp_path)
    assert len(json.loads(history.stdout)) == _IMAGES + 8
