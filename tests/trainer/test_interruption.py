"""A fit that is interrupted, killed or out of room leaves nothing half-done, and can be gone on with."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.checkpoints import checkpoint as checkpoints
from models.errors import UserError
from models.weights.store import WeightsStore
from tests.trainer.conftest import make_shapes
from trainer import fit as fitting
from trainer.__main__ import main
from trainer.data import features
from trainer.finetuning import finetune
from trainer.runs import resume
from trainer.runs.proof import require_unchanged

ROOT = Path(__file__).parents[2]


def command(pictures: Path, runs: Path, *more: str) -> list[str]:
    plain = ["--mode", "efficientnet_lite0", "--epochs", "2"]
    return ["fit", "--data-dir", str(pictures), "--output-dir", str(runs), *plain, *more]


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Pictures that nothing was computed of before."""
    return make_shapes(tmp_path / "few", 3, labels=("circle", "cross"), first=900)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_was_interrupted_is_gone_on_with(
    few: Path, store: WeightsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an image was decoded again")

    assert store.root.is_absolute()
    runs = tmp_path / "runs"
    with monkeypatch.context() as patched:
        patched.setattr(fitting, "write_run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            main(command(few, runs))
    assert not runs.exists()
    assert "the same command with --resume continues it" in capsys.readouterr().out
    with monkeypatch.context() as patched:
        patched.setattr(features, "decode", refuse)
        main(command(few, runs, "--resume", "--publish", "never"))
    assert "resumes the interrupted fit" in capsys.readouterr().out
    with monkeypatch.context() as patched:  # that one was done
        patched.setattr(fitting, "extract", interrupt)
        with pytest.raises(KeyboardInterrupt):
            main(command(few, runs, "--resume"))
    assert "no such fit was interrupted, so this one starts from the beginning" in capsys.readouterr().out


@pytest.mark.usefixtures("whole")
def test_fine_tuning_that_was_done_is_not_done_again(
    colours: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["fit", "--data-dir", str(colours), "--output-dir", str(tmp_path), "--max-samples", "8"]
    arguments += ["--mode", "clip", "--clip-model", str(tiny_clip), "--fine-tune", "--ft-epochs", "2"]
    monkeypatch.setattr(fitting, "tuned_backbone", interrupt)
    monkeypatch.setattr(resume, "SAVE_PAUSE_FACTOR", 0)
    with pytest.raises(KeyboardInterrupt):
        main(arguments)
    monkeypatch.setattr(finetune.FineTuner, "train", None)
    assert "resumes after" not in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        main([*arguments, "--resume"])
    assert "resumes after epoch 2, the last of the interrupted fit" in capsys.readouterr().out


def test_the_cache_has_the_size_that_was_asked_for(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, size: int) -> None:
        raise UserError(f"of {size} bytes")

    monkeypatch.setattr(fitting, "FeatureCache", opened)
    with pytest.raises(UserError, match="of 300000000 bytes"):
        main(command(shapes, tmp_path, "--cache-size", "300MB"))


@pytest.mark.parametrize(
    ("text", "size"),
    [("2 GB", 2 * 10**9), ("500MB", 5 * 10**8), ("1.5 GiB", 3 * 2**29), ("10k", 10_000), ("0", 0), ("7b", 7)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    from trainer import arguments

    assert arguments.size(text) == size


@pytest.mark.slow
@pytest.mark.parametrize("when", ["images", "features", "head", ".run.", "details", "published"])
def test_a_killed_fit_leaves_no_half_run(when: str, few: Path, tmp_path: Path) -> None:
    """Killed once it has said so much, or begun to write its run."""
    runs = tmp_path / "runs"
    fitting = subprocess.Popen(
        [sys.executable, "-m", "trainer", *command(few, runs)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert fitting.stdout is not None
    if when == ".run.":
        while not list(runs.glob(".run.*")):
            assert fitting.poll() is None
            time.sleep(0.001)
    else:
        assert any(line.startswith(when) for line in fitting.stdout), f"no line of a fit begins with {when!r}"
    os.kill(fitting.pid, signal.SIGKILL)
    fitting.communicate()
    for run in runs.glob("[0-9]*"):
        assert (run / "split.csv").is_file()
        require_unchanged(run, checkpoints.load(run).digest)
    published = (runs / checkpoints.POINTER).is_file()
    assert published or when != "published"
    if published:
        checkpoints.load(runs)
    again = subprocess.run([sys.executable, "-m", "trainer", *command(few, runs, "--resume")], cwd=ROOT)
    assert again.returncode == 0
    assert not list(runs.glob(".run.*"))
    checkpoints.load(runs)


@pytest.mark.slow
def test_a_full_disk_ends_with_one_sentence_and_exit_code_2(few: Path, tmp_path: Path) -> None:
    """No file may be larger than 20 kB here, which is less than a checkpoint has."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = subprocess.run(
        [sys.executable, "-m", "trainer", *command(few, tmp_path / "runs")],
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "the run cannot be written to" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []
