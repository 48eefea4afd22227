"""A lesson as a process: whatever it prints and however it ends, it is understood, bounded and gone."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from daemon.learning.trainer_child import (
    BROKEN,
    IMPOSSIBLE,
    NOTHING_NEW,
    PUBLISHED,
    LessonAnswer,
    LessonOptions,
    TrainerChild,
)
from tests.processes import environment, is_alive, wait_for

REFUSED = {"result": "nothing new", "why": "there is no label to learn from", "run": None}


def child(folder: Path, program: str, *, seconds: float = 60, memory: int = 1 << 30) -> TrainerChild:
    options = LessonOptions(folder / "checkpoints", folder / "cache", seconds, memory)
    return TrainerChild(options, folder / "labels.jsonl", [sys.executable, "-c", program])


def answer(folder: Path, program: str, **limits: float) -> LessonAnswer:
    told = child(folder, program, **limits).run()  # type: ignore[arg-type]
    assert told is not None
    return told


def printing(answer: object, code: int) -> str:
    return f"import sys; print({json.dumps(answer)!r}); sys.exit({code})"


def test_an_answer_is_understood_and_reports_are_passed_on(tmp_path: Path) -> None:
    lines: list[str] = []
    said = {"result": "published", "why": "it is better", "run": "/c/run", "labels": {"red": 12}}
    program = f"import sys; print('one\\n\\n\\x1b[31mtwo', file=sys.stderr); {printing(said, 0)}"
    assert child(tmp_path, program).run(lines.append) == LessonAnswer(PUBLISHED, "it is better", said)
    assert lines == ["one", "\\x1b[31mtwo"]
    assert answer(tmp_path, printing(REFUSED, 4)).result == NOTHING_NEW


@pytest.mark.parametrize(
    "program",
    [
        "print('rubbish')",
        "pass",
        "print('[' * 100000)",
        "import sys; sys.stdout.buffer.write(bytes(range(256)))",
        printing([1], 0),
        printing({"result": "published", "why": "x", "run": None}, 0),
        printing({"result": "published", "why": "x", "run": 7}, 0),
        printing({"result": "refused", "why": 7, "run": None}, 4),
        printing({"result": "something", "why": "x", "run": None}, 0),
        "while True: print('x' * 10000)",
        "import sys\nwhile True: sys.stderr.write('x' * 10000)",
    ],
)
def test_rubbish_is_called_that(tmp_path: Path, program: str) -> None:
    assert answer(tmp_path, program) == LessonAnswer(BROKEN, "its answer cannot be understood")


@pytest.mark.parametrize(
    ("program", "result", "why"),
    [
        ("import sys; sys.stderr.write('a\\ntrainer: no run: fit'); sys.exit(2)", IMPOSSIBLE, "no run: fit"),
        ("import sys; sys.exit(2)", IMPOSSIBLE, "it gave no reason"),
        ("import sys; print('oh', file=sys.stderr); sys.exit(1)", BROKEN, "it ended with code 1: oh"),
        ("raise MemoryError", BROKEN, "it needs more memory than it may use (learn_memory_mb)"),
        (
            "import os; os.kill(os.getpid(), 9)",
            BROKEN,
            "it was killed, perhaps because it ran out of memory (learn_memory_mb)",
        ),
        ("import os; os.kill(os.getpid(), 6)", BROKEN, "it was ended by signal 6"),
    ],
)
def test_how_it_fails_is_said(tmp_path: Path, program: str, result: str, why: str) -> None:
    assert answer(tmp_path, program) == LessonAnswer(result, why)


def test_its_time_and_memory_are_limited(tmp_path: Path) -> None:
    assert answer(tmp_path, "import time; time.sleep(600)", seconds=0.5).why == (
        "it took longer than 0.5 s (learn_seconds)"
    )
    assert answer(tmp_path, "bytearray(1 << 29)", memory=1 << 28).why == (
        "it needs more memory than it may use (learn_memory_mb)"
    )


def test_what_it_has_started_ends_with_it(tmp_path: Path) -> None:
    program = f"""
import subprocess, sys
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # holds the pipes open
open({str(tmp_path / "pid")!r}, "w").write(str(other.pid))
{printing(REFUSED, 4)}
"""
    assert answer(tmp_path, program).result == NOTHING_NEW
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not is_alive(pid), "what it has started has ended")


def test_an_old_kernel_tells_of_the_end_by_the_pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", missing)
    assert answer(tmp_path, printing(REFUSED, 4)).result == NOTHING_NEW
    closing = "import os, time; os.close(1); os.close(2); time.sleep(600)"
    assert answer(tmp_path, closing, seconds=1).why == "it took longer than 1 s (learn_seconds)"
    assert answer(tmp_path, "import os; os.kill(os.getpid(), 6)").why == "it was ended by signal 6"


def test_it_comes_last_and_is_ended_first(tmp_path: Path) -> None:
    program = """
import json, os
priority = os.getpriority(os.PRIO_PROCESS, 0)
score = int(open("/proc/self/oom_score_adj").read())
leader = os.getpid() == os.getsid(0)
print(json.dumps({"result": "refused", "why": "", "run": None, "told": [priority, score, leader, os.getcwd()]}))
"""
    assert answer(tmp_path, program).figures["told"] == [19, 900, True, "/"]


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="the kernel does not group by session")
def test_its_session_comes_after_others(tmp_path: Path) -> None:
    program = """
import json
group = open("/proc/self/autogroup").read().split()
print(json.dumps({"result": "refused", "why": "", "run": None, "told": group[1:]}))
"""
    assert answer(tmp_path, program).figures["told"] == ["nice", "10"]


def test_it_can_be_ended_from_outside(tmp_path: Path) -> None:
    lesson = child(tmp_path, "import sys, time; print('begun', file=sys.stderr); time.sleep(600)")
    begun = threading.Event()
    told: list[LessonAnswer | None] = []
    thread = threading.Thread(target=lambda: told.append(lesson.run(lambda _: begun.set())))
    thread.start()
    assert begun.wait(300)
    lesson.end()
    thread.join(300)
    assert told == [None]


def test_it_ends_with_the_daemon(tmp_path: Path) -> None:
    lesson = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    program = f"""
import sys
from pathlib import Path
from daemon.learning.trainer_child import LessonOptions, TrainerChild
TrainerChild(LessonOptions(Path("c"), None, 600, 1 << 30), Path("l"), [sys.executable, "-c", {lesson!r}]).run()
"""
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment())
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the lesson runs")
    pid = int((tmp_path / "pid").read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not is_alive(pid), "the lesson has ended")


@pytest.mark.timeout(300)
def test_the_trainer_says_why_no_lesson_can_be_given(tmp_path: Path) -> None:
    """With the real one: the published run is gone."""
    labels = tmp_path / "labels.jsonl"
    labels.write_text("")
    options = LessonOptions(tmp_path / "checkpoints", tmp_path / "cache", 240, 2 << 30)
    (tmp_path / "checkpoints").mkdir()
    pointer = {"run": "gone", "sha256": "0" * 64, "published": ""}
    (tmp_path / "checkpoints" / "current.json").write_text(json.dumps(pointer))
    told = TrainerChild(options, labels).run()
    assert told is not None
    assert (told.result, "gone" in told.why) == (IMPOSSIBLE, True)


def test_python_itself_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(OSError, match="No such file"):
        child(tmp_path, "pass").run()
