"""What the daemon watches is taken away from it: folders, permissions, events, and the thread that reads them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.conftest import Publish
from tests.hazards.station import Station, station
from tests.pictures import KINDS
from tests.processes import COMMAND, run, wait_for

#: A daemon whose reader of events can be killed, by SIGUSR1: it ends with the next event, as by an exception.
MORTAL = """
import ctypes, signal, sys, threading
from daemon.__main__ import main
from models.text.commandline import run

def kill(*_):
    for thread in threading.enumerate():  # that of the inbox, and that of what is published
        if type(thread).__name__ == "InotifyFD":
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    print("the next event kills its reader", flush=True)

signal.signal(signal.SIGUSR1, kill)
sys.exit(run(main))
"""
#: Whom permissions bind: everybody but root, and root without two of its capabilities.
BOUND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
needs_bounds = pytest.mark.skipif(bool(BOUND) and not shutil.which("setpriv"), reason="root, and no setpriv")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, publish: Publish) -> Iterator[Station]:
    """One daemon for all that leaves it whole."""
    bound = BOUND if BOUND and shutil.which("setpriv") else []
    command = [*bound, sys.executable, "-c", MORTAL]
    with station(tmp_path_factory.mktemp("station"), publish, "--rescan-seconds", "1", command=command) as made:
        yield made


def test_the_inbox_is_removed_and_made_again(here: Station) -> None:
    shutil.rmtree(here.inbox)
    here.running.wait_until_said(f"inbox {str(here.inbox)!r} is missing")
    here.inbox.mkdir()
    here.well()
    here.running.wait_until_said(f"inbox {str(here.inbox)!r} is back")
    assert here.running.log().count("is missing") == 1


def test_the_inbox_is_replaced(here: Station) -> None:
    picture = here.picture("waiting.png")
    content = picture.read_bytes()
    here.inbox.rename(here.folder / "old")
    picture.parent.rename(here.inbox)
    here.filed(here.inbox / "waiting.png", content)
    here.well()


@needs_bounds
def test_permission_is_lost_and_regained(here: Station) -> None:
    locked, inside, album = here.picture("locked.png"), here.picture("inside.png"), here.inbox / "album"
    contents = locked.read_bytes(), inside.read_bytes()
    locked.chmod(0)
    locked.rename(here.inbox / "locked.png")
    here.running.wait_until_said("locked.png")
    inside.parent.chmod(0)
    inside.parent.rename(album)
    here.running.wait_until_said(f"cannot look into {str(album)!r}: Permission denied")
    assert here.running.log().count("It stays in the inbox and is tried again.") == 1

    here.inbox.chmod(0)
    here.running.wait_until_said("is missing (Permission denied)")
    here.inbox.chmod(0o755)
    here.well()

    album.chmod(0o755)
    here.filed(album / "inside.png", contents[1])
    (here.inbox / "locked.png").chmod(0o600)
    here.touch(here.inbox / "locked.png")
    here.filed(here.inbox / "locked.png", contents[0])


def test_the_reader_of_events_is_killed(here: Station) -> None:
    here.running.process.send_signal(signal.SIGUSR1)
    here.running.wait_until_said("the next event kills its reader")
    here.well()  # the event that it dies of is lost
    wait_for(lambda: here.status().restarts == 1, "another one reads")
    assert here.running.log().count("the reader of events has died") == 1
    here.well()


@pytest.mark.slow
def test_the_limit_of_watches_is_reached(tmp_path: Path, publish: Publish) -> None:
    """In a user name space of the daemon's own, which has limits of its own."""
    limit = 'echo 3 > /proc/sys/user/max_inotify_watches && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh", *COMMAND]
    if subprocess.run([*command[:5], limit, "sh", "true"], capture_output=True).returncode:
        pytest.skip("no user name space with a limit of its own can be made here")
    folders = [tmp_path / "inbox" / str(number) for number in range(5)]
    for folder in folders:
        folder.mkdir(parents=True)
    with station(tmp_path, publish, command=command) as here:
        here.running.wait_until_said("raise it with `sysctl fs.inotify.max_user_watches=1048576` and start again")
        for folder in folders:
            picture = here.picture(f"{folder.name}.png")
            content = picture.read_bytes()
            here.filed(picture.rename(folder / picture.name), content)
        wait_for(lambda: here.status().inboxes[0].mode == "polling", "that it polls")
        assert here.running.log().count("max_user_watches") == 1


def overflow(tmp_path: Path, publish: Publish, images: int, others: int) -> None:
    """Let so many files come while the machine has no time for the daemon, which is what a stopped one looks like."""
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    assert 2 * (images + others) > queue, "as many events as are kept do not overflow"
    where = tmp_path / "numbers.prom"
    with station(tmp_path, publish, "--rescan-seconds", "3600", "--metrics-file", str(where)) as here:
        content = here.picture("one.png").read_bytes()
        here.running.process.send_signal(signal.SIGSTOP)
        for number in range(others):
            (here.inbox / f"{number}.txt").touch()
        for number in range(images):
            (here.inbox / f"{number}.png").write_bytes(content + b"%d" % number)
        here.running.process.send_signal(signal.SIGCONT)
        wait_for(lambda: not list(here.inbox.glob("*.png")), "everything is filed", seconds=max(60, images))
        wait_for(lambda: here.status().images == {"sure": images}, "it says so")
        assert here.status().overflows >= 1
        assert "events were lost" in here.running.log()
        assert all(line.startswith("20") for line in here.running.log().splitlines()), "not in the form of our log"
        wait_for(lambda: f'images_total{{outcome="sure"}} {images}\n' in where.read_text(), "the metrics say so")
        (counted,) = (line for line in where.read_text().splitlines() if line.startswith("imagesortd_event_overflows"))
        assert int(counted.split()[1]) >= 1
        told = json.loads(run("daemon", "status", "--json", "--state-dir", "state", cwd=tmp_path).stdout)
        assert told["overflows"] >= 1
    filed = [*(here.output / KINDS[0]).glob("*.png")]
    assert {path.read_bytes() for path in filed} == {content + b"%d" % number for number in range(images)}
    assert len(filed) == images


def test_more_events_than_are_kept(tmp_path: Path, publish: Publish) -> None:
    overflow(tmp_path, publish, images=20, others=9_000)


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_thirty_thousand_images_beside_a_busy_machine(tmp_path: Path, publish: Publish) -> None:
    overflow(tmp_path, publish, images=30_000, others=0)
