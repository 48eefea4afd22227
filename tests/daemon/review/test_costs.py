"""The page costs a daemon nothing, and takes little itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.daemon.review.browser import Reviewed
from tests.processes import ROOT, environment, memory, wait_for


def test_a_daemon_loads_nothing_of_a_server_of_the_web() -> None:
    modules = "daemon.commands.sort, daemon.commands.watch, daemon.service, daemon.commands.doctor"
    code = f"import sys, {modules}; print(*sorted({{'starlette', 'uvicorn', 'jinja2'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_its_process_takes_less_than_150_mb(reviewed: Reviewed, tmp_path: Path) -> None:
    log = tmp_path / "log"
    place = ["--output", str(reviewed.desk.output), "--state-dir", str(reviewed.state), "--listen", "127.0.0.1:0"]
    with log.open("wb") as file:
        command = [sys.executable, "-m", "daemon", "review", *place]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=file, stderr=file)
    try:
        wait_for(lambda: b"/enter/" in log.read_bytes(), "it prints a link")
        assert 0 < memory([process.pid]) < 150 << 20
        assert os.waitpid(process.pid, os.WNOHANG)[0] == 0
    finally:
        process.terminate()
        code = process.wait(300)
    assert code == 0
    assert b"Traceback" not in log.read_bytes()
