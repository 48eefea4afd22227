"""How far a backlog is: lines in a log, Ctrl-C, and no bar where none is looked at."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from daemon.monitoring.progress import Count, Progress, duration
from tests.pictures import KINDS, save
from tests.processes import PATIENCE, environment, wait_for


def test_a_backlog_says_once_a_minute_how_far_it_is(logged: list[str]) -> None:
    now = 0.0
    progress = Progress(shows_bar=False, clock=lambda: now)
    for second in range(181):
        now = float(second)
        progress.update(10 * second, 4_500 - 10 * second, about=second < 100)
    assert logged == [
        "600 done, about 3900 left, 10.0 images/s: 6 min to go",
        "1200 done, 3300 left, 10.0 images/s: 5 min to go",
        "1800 done, 2700 left, 10.0 images/s: 4 min to go",
    ]


def test_where_nobody_knows_what_is_left_only_what_is_done_is_said(logged: list[str]) -> None:
    now = 0.0
    count = Count(clock=lambda: now)
    for second in range(181):
        now = float(second)
        count.update(10 * min(second, 110))
    assert logged == ["600 images so far, 10.0 images/s", "1100 images so far, 8.3 images/s"]


def test_what_waits_without_getting_on_or_is_soon_done_is_no_backlog(logged: list[str]) -> None:
    now = 0.0
    progress = Progress(shows_bar=False, clock=lambda: now)
    for second in range(600):
        now = float(second)
        progress.update(second // 300, 1)
    for second in range(600, 1200):
        now = float(second)
        progress.update(second, 5)
    assert logged == []


_BARS = """
import sys
from loguru import logger
from daemon.monitoring.logs import start_logging
from daemon.monitoring.progress import Progress, bar_fits
start_logging("INFO", as_json=False)
progress = Progress(shows_bar=bar_fits(as_json=False, log_json=False))
few, many = int(sys.argv[1]), int(sys.argv[2])
for done in range(few + 1):
    progress.update(done, few - done)
logger.info("-- only a few so far --")
for done in range(many + 1):
    progress.update(few + done, many - done)
    logger.info("image {} of all", done)
progress.close()
"""


def on_a_terminal(columns: int, *arguments: object) -> str:
    """What a program of bars writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-c", _BARS, *map(str, arguments)]
    with subprocess.Popen(command, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        try:
            while more_of_it := os.read(ours, 1 << 16):
                written += more_of_it
        except OSError:
            pass  # the last one has closed the terminal
        os.close(ours)
    assert process.returncode == 0, written
    return re.sub(r"\x1b\[[\d;]*m", "", written.decode())


@pytest.mark.parametrize("columns", [40, 80])
def test_the_bar_of_a_terminal(columns: int) -> None:
    before, _, after = on_a_terminal(columns, 3, 60).partition("-- only a few so far --")
    assert "|" not in before  # a picture now and then is no job to watch
    bars = re.findall(r"\r([^\r\n]*\|[^\r\n]*)", after)
    assert bars[0].startswith("0 of 60 |")  # from the first moment, and of all that there are
    assert all(len(bar) <= columns for bar in bars)
    assert any(re.search(r"[\d.]+/s, 00:00 to go$", bar) for bar in bars)
    said = re.findall(r"(?:^|[\r\n])[^\r\n|]*(image \d+ of all)(?=\r\n)", after)
    assert said == [f"image {number} of all" for number in range(61)]  # none of them on a line with a bar
    assert not re.split(r"[\r\n]", after)[-1].strip()  # nothing is left of it


@pytest.mark.parametrize(("seconds", "text"), [(5.9, "5 s"), (600, "10 min"), (7_260, "2 h 1 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_ctrl_c_says_how_far_sort_came_and_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save(KINDS[0], 1, tmp_path / "in" / "0.png")
    first = (tmp_path / "in" / "0.png").read_bytes()
    for number in range(1, 160):
        (tmp_path / "in" / f"{number}.png").write_bytes(first)
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from models.text.commandline import run_and_exit\nfrom daemon.__main__ import main\nrun_and_exit(main)"
    command = [sys.executable, "-c", code, "sort", "--input-dir", "in", "--output-dir", "out"]
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=file, start_new_session=True
        )
    wait_for(lambda: " -> " in log.read_text() or process.poll() is not None, "the first image")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    copied = [path for path in (tmp_path / "out").rglob("*") if path.suffix == ".png"]
    assert process.returncode == 130
    assert (
        f"stopped; images done: {len(copied)}, left: {160 - len(copied)}; the same command goes on" in log.read_text()
    )
    assert not list((tmp_path / "out").rglob("*.part"))
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert f"{len(copied):7}  there already" in done.stdout
