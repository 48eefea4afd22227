"""Fine-tuning by the processes of a real torchrun: what people see of it, also when one of them is killed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.checkpoints import checkpoint as checkpoints
from tests.processes import children, environment, wait_for

pytestmark = pytest.mark.slow

#: In a process that is not the first, note every file that it opens for writing, makes, moves or removes.
SPY = """
import os, sys
if os.environ.get("RANK", "0") != "0":
    log = os.open(os.environ["SPY"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    def note(event, given):
        writes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.link"):
            os.write(log, f"{event} {given[0]}\\n".encode("utf-8", "surrogateescape"))
    sys.addaudithook(note)
"""


def arguments(pictures: Path, clip: Path, runs: Path, *more: str) -> list[str]:
    mode = ["--mode", "clip", "--clip-model", str(clip), "--epochs", "1", "--batch-size", "13", "--patience", "0"]
    return ["fit", "--data-dir", str(pictures), "--output-dir", str(runs), "--publish", "never", *mode, *more]


def tuning(pictures: Path, clip: Path, runs: Path, *more: str, epochs: int = 3) -> list[str]:
    return arguments(pictures, clip, runs, "--fine-tune", "--ft-epochs", str(epochs), "--ft-lr", "0.001", *more)


@contextmanager
def started(count: int, command: Sequence[str], **more: str) -> Iterator[subprocess.Popen[str]]:
    """The trainer in so many processes of torchrun; in one, without it."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    running = subprocess.Popen(
        [sys.executable, *torchrun, "-m", "trainer", *command],
        env=environment() | {"OMP_NUM_THREADS": "1"} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        for worker in children(running.pid):  # each is in a session of its own
            os.kill(worker, signal.SIGKILL)
        running.kill()
        running.communicate()


def run(count: int, command: Sequence[str], **more: str) -> tuple[int, str, str]:
    """The exit code, and what stands on standard output and error."""
    with started(count, command, **more) as running:
        out, error = running.communicate()
        return running.returncode, out, error


def curves(runs: Path) -> list[list[float]]:
    """The losses and the accuracy of each epoch of fine-tuning of the only run."""
    (path,) = runs.glob("*/history.csv")
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["stage"] == "fine-tune"]
    return [[float(row[name]) for name in ("train_loss", "held_out_loss", "held_out_accuracy")] for row in rows]


def own_lines(error: str) -> list[str]:
    """What we wrote on standard error but for the export of a graph, without torchrun's report."""
    left_out = ("torch/distributed/elastic", "INFO: exporting the graph")
    return [line for line in error.split("Traceback")[0].splitlines() if not any(text in line for text in left_out)]


def worker(running: subprocess.Popen[str], number: int) -> int:
    """The process of a rank."""

    def found() -> list[int]:
        return [
            pid
            for pid in children(running.pid)
            if f"\0RANK={number}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        ]

    wait_for(found, f"rank {number} has started")
    return found()[0]


def test_two_processes_tune_real_pictures_as_one_does(shared_data: Path, tmp_path: Path) -> None:
    command = ["fit", "--data-dir", str(shared_data / "hymenoptera2"), "--mode", "efficientnet_lite0"]
    command += ["--fine-tune", "--ft-epochs", "1", "--publish", "never"]
    for count in (1, 2):
        code, _, error = run(count, [*command, "--output-dir", str(tmp_path / str(count))])
        assert code == 0, error
    for one, two in zip(curves(tmp_path / "1"), curves(tmp_path / "2"), strict=True):
        assert two == pytest.approx(one, abs=2e-3)


def test_the_first_process_alone_writes_and_tells(colours: Path, tiny_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SPY)
    spied = tmp_path / "spied"
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    code, out, error = run(2, tuning(colours, tiny_clip, tmp_path / "2"), PYTHONPATH=path, SPY=str(spied))
    assert code == 0, error
    assert own_lines(error) == []
    assert out.count("2 processes share each batch of 13 images") == 1
    assert out.count("epoch 3/3") == 1
    places = [line.split(" ", 1)[1] for line in spied.read_text().splitlines()]
    assert places, "the spy noted nothing"
    assert [place for place in places if str(tmp_path) in place] == []
    assert [place for place in places if os.environ["XDG_CACHE_HOME"] in place] == []
    run(1, tuning(colours, tiny_clip, tmp_path / "1"))
    for one, two in zip(curves(tmp_path / "1"), curves(tmp_path / "2"), strict=True):
        assert two == pytest.approx(one, abs=1e-3)
    (checkpoint,) = (tmp_path / "2").glob(f"*/{checkpoints.FILE_NAME}")
    assert checkpoints.read(checkpoint).metadata.settings["fine_tune"] is True


@pytest.mark.parametrize(("killed", "resumed_by"), [(0, 2), (1, 1)])
def test_a_killed_process_ends_all_with_a_sentence_and_resume_goes_on(
    killed: int, resumed_by: int, colours: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    assert run(1, tuning(colours, tiny_clip, tmp_path / "whole", epochs=6))[0] == 0
    command = tuning(colours, tiny_clip, tmp_path / "runs", epochs=6)
    with started(2, command) as running:
        assert running.stdout is not None
        assert any("epoch 1/6" in line for line in running.stdout)
        os.kill(worker(running, killed), signal.SIGKILL)
        _, error = running.communicate()
        assert running.returncode == 1
    stopped = (
        "another process of this fit ended, or torchrun was told to stop: the same command with --resume continues"
    )
    (line,) = own_lines(error)
    assert stopped in line
    assert error.count("Traceback") == 1  # that of torchrun's report
    assert not (tmp_path / "runs").exists()
    code, out, error = run(resumed_by, [*command, "--resume"])
    assert code == 0, error
    assert "resumes after epoch" in out
    for one, two in zip(curves(tmp_path / "whole"), curves(tmp_path / "runs"), strict=True):
        assert two == pytest.approx(one, abs=1e-3)


def test_ctrl_c_ends_as_it_does_with_one_process(colours: Path, tiny_clip: Path, tmp_path: Path) -> None:
    with started(2, tuning(colours, tiny_clip, tmp_path / "runs", epochs=9)) as running:
        assert running.stdout is not None
        assert any("epoch 1/9" in line for line in running.stdout)
        running.send_signal(signal.SIGINT)
        out, error = running.communicate()
    assert running.returncode == 1
    assert out.splitlines()[-1].split(None, 1) == ["stopped", "the same command with --resume continues it"]
    assert own_lines(error) == ["trainer: interrupted"]
    assert error.count("Traceback") == 1


@pytest.mark.parametrize(
    ("more", "count", "sentence"),
    [
        ([], 2, "torchrun is for fit --fine-tune alone: start everything else without it"),
        (["--fine-tune", "--batch-size", "1"], 2, "2 processes cannot share batches of 1 images: start fewer"),
        (["--fine-tune", "--ft-rate", "1"], 2, "there is no option --ft-rate: did you mean --ft-lr?"),
        (["--fine-tune", "--mode", "no"], 2, "there is no backbone 'no'"),
    ],
)
def test_mistakes_are_told_once(
    more: list[str], count: int, sentence: str, colours: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    code, out, error = run(count, arguments(colours, tiny_clip, tmp_path / "runs", *more))
    assert code == 1
    assert out == ""
    (line,) = own_lines(error)
    assert sentence in line
    assert f"traceback : {line.removeprefix('trainer: ')}" in error  # of torchrun's report
    assert not (tmp_path / "runs").exists()
