"""The clock of the machine jumps, under a real daemon whose calls for the time are answered by this test."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.daemon.conftest import Publish
from tests.hazards.station import station
from tests.processes import COMMAND, run, wait_for

#: Adds to the time of day as many seconds as the file ``$CLOCK`` has bytes, and takes away those that $BACK has.
SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

static time_t shift(void) {
    struct stat ahead = {0}, back = {0};
    stat(getenv("CLOCK_AHEAD"), &ahead);
    stat(getenv("CLOCK_BACK"), &back);
    return ahead.st_size - back.st_size;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return failed;
}
"""
DAY = 86400


@pytest.mark.slow
def test_the_clock_jumps_back_and_ahead(tmp_path: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler is here to make a clock with")
    (tmp_path / "clock.c").write_text(SOURCE)
    built = subprocess.run(["cc", "-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"], cwd=tmp_path)
    assert built.returncode == 0
    ahead, back = tmp_path / "ahead", tmp_path / "back"
    monkeypatch.setenv("CLOCK_AHEAD", str(ahead))
    monkeypatch.setenv("CLOCK_BACK", str(back))
    command = ["env", f"LD_PRELOAD={tmp_path / 'clock.so'}", *COMMAND]
    with station(tmp_path, publish, "--poll", command=command) as here:
        for file, jump in ((back, -100 * DAY), (ahead, 200 * DAY)):
            here.well()
            with file.open("wb") as sparse:
                sparse.truncate(abs(jump))
            here.well()
        picture = here.picture("slow.png")
        content = picture.read_bytes()
        with (here.inbox / "slow.png").open("wb", buffering=0) as writer:
            writer.write(content[:-100])
            wait_for(lambda: here.status().waiting == 1, "it is seen")
            oldest = here.status().oldest
            writer.write(content[-100:])
        here.filed(here.inbox / "slow.png", content)
        assert oldest is not None
        assert abs(oldest - time.time() - 100 * DAY) < DAY, "the clock is not the one that jumps"
        assert run("daemon", "status", "--state-dir", "state", cwd=tmp_path).returncode == 0
    history = run("daemon", "history", "--state-dir", "state", "--json", cwd=tmp_path)
    assert len(json.loads(history.stdout)) == 5
