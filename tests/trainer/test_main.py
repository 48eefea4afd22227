from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.checkpoints import checkpoint as checkpoints
from models.text.commandline import run
from tests.trainer.conftest import make_shapes
from trainer.__main__ import main
from trainer.fit import FitOutcome

ROOT = Path(__file__).parents[2]


def trainer(*arguments: str | Path) -> int:
    return run(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--epochs", "0"),
        ("--epochs", "2.5"),
        ("--epochs", "many"),
        ("--batch-size", "0"),
        ("--batch_size", "-4"),
        ("--lr", "-1e-3"),
        ("--lr", "0"),
        ("--lr", "nan"),
        ("--lr", "7"),
        ("--patience", "-1"),
        ("--max-samples", "0"),
        ("--val-fraction", "1.5"),
        ("--val-fraction", "0"),
        ("--val-fraction", "0.09"),
        ("--ft-lr", "inf"),
        ("--ft-epochs", "0"),
        ("--seed", "-1"),
        ("--weights", "clip"),
        ("--publish", "maybe"),
    ],
)
def test_an_impossible_value_is_one_sentence_with_the_options_name(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trainer("fit", "--data-dir", tmp_path, f"{option}={value}") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert option.replace("_", "-") in said.err


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--max-error", "few", "give a share such as 5%, 1/20 or 0.05, not 'few'"),
        ("--max-error", "5", "it must be more than 0 and less than 1, such as 0.05 or 5%, not 5"),
        ("--max-error", "1/0", "give a share"),
        ("--val-fraction", "5%", "it must be from 0.1 to 0.5 (10% to 50%)"),
    ],
)
def test_what_is_no_share_is_told_how_to_be_written(
    option: str, value: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trainer("fit", "--data-dir", tmp_path, option, value) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("value", ["5%", "1/20", "0.05", "5 %"])
def test_a_share_may_be_a_percentage_or_a_fraction(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--max-error", value, "--val-fraction", "20%")
    assert trainer("fit", "--data-dir", tmp_path / "none", *options) == 2
    assert "there is no folder" in capsys.readouterr().err  # it got as far as that


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "required: COMMAND"),
        (("fit",), "there is nothing to fit on: give --data-dir"),
        (("evaluate",), "required: --data-dir"),
        (("fit", "--data-dir", "x", "--epoch", "3"), "there is no option --epoch: did you mean --epochs?"),
        (("train",), "invalid choice"),
        (("evaluate", "--data-dir", "there/is/none"), "there is no folder there/is/none"),
        (("fit", "--data-dir", "there/is/none"), "there is no folder there/is/none"),
        (("list", "--output-dir", "there/is/none"), "there is no folder there/is/none"),
        (("publish", "latest", "--output-dir", "there/is/none"), "no run in there/is/none has a checkpoint yet: make"),
        (("publish", "no-such-run"), "no run in checkpoints has a checkpoint yet: make one with python -m trainer fit"),
        (("rollback", "--output-dir", "there/is/none"), "nothing is published"),
    ],
)
def test_wrong_use_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trainer(*arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_an_unknown_backbone_and_missing_weights_are_said(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("fit", "--data-dir", shapes, "--output-dir", tmp_path)
    assert trainer(*common, "--mode", "resnet51") == 2
    assert "there is no backbone 'resnet51'" in capsys.readouterr().err
    assert trainer(*common, "--mode", "clip", "--clip-model", "/no/such/folder") == 2
    assert "/no/such/folder" in capsys.readouterr().err
    assert trainer(*common, "--mode", "efficientnet_lite0", "--weights", "clip=/x") == 2
    assert "does not use" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_fit_evaluate_list_publish_and_roll_back(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    fit = ("fit", "--data_dir", shapes, "--mode", "efficientnet_lite0", "--epochs", "2", "--output_dir", runs, "--json")
    made = []
    for _ in range(2):
        assert trainer(*fit) == 0
        said = capsys.readouterr()
        made.append(json.loads(said.out))
        assert "are classified right by models that had not seen them" in said.err
    assert made[0]["classes"] == ["circle", "cross", "square"]
    assert made[0]["published"]
    assert made[0]["held_out"]["images"] > 0

    common = ("--output-dir", str(runs))
    assert trainer("rollback", *common, "--json") == 0
    assert json.loads(capsys.readouterr().out)["published"] == Path(made[0]["run"]).name
    assert trainer("publish", Path(made[1]["run"]).name, *common) == 0
    assert checkpoints.resolve(runs).parent == Path(made[1]["run"])
    assert trainer("publish", made[0]["run"], *common) == 0
    assert checkpoints.resolve(runs).parent == Path(made[0]["run"])

    capsys.readouterr()
    assert trainer("list", *common) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line[0] for line in listed] == [" ", "*", " "]
    assert listed[0].split()[:4] == ["run", "mode", "classes", "images"]
    assert listed[1].split()[3:5] == ["3", "72"]
    assert len({len(line) for line in listed}) == 1
    assert trainer("list", *common, "--json") == 0
    assert [row["current"] for row in json.loads(capsys.readouterr().out)] == [True, False]

    out = tmp_path / "report"
    assert trainer("evaluate", "--data-dir", shapes, "--checkpoint", runs, "--output-dir", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["figures"]["images"] == 72


def test_a_run_that_cannot_be_published_is_refused_without_a_warning_of_what_would_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, runs = make_shapes(tmp_path / "data", 2, labels=("others", "circle")), tmp_path / "runs"
    fit = ("fit", "--data-dir", data, "--mode", "efficientnet_lite0", "--epochs", "1", "--output-dir", runs)
    assert trainer(*fit, "--publish", "never") == 0
    (run,) = runs.iterdir()
    capsys.readouterr()
    assert trainer("publish", run.name, "--output-dir", runs) == 2
    said = capsys.readouterr()
    assert "is not published: it has a class others" in said.err
    assert said.out == ""


def test_help_and_mistakes_are_answered_without_torch() -> None:
    program = """
import sys
from models.text.commandline import run
from trainer.__main__ import main
try:
    run(main, ["fit", "--help"])
except SystemExit:
    pass
run(main, ["fit", "--data-dir", "x", "--epochs", "0"])
run(main, ["fit", "--data-dir", "x"])
run(main, ["evaluate", "--data-dir", "x"])
run(main, ["zero-shot", "--classes", "cat", "cat"])
heavy = {"torch", "sklearn", "onnxruntime", "transformers", "matplotlib", "scipy.stats"} & set(sys.modules)
print("heavy:", sorted(heavy))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert "heavy: []" in done.stdout
    assert "--fine-tune" in done.stdout
    assert "--epochs" in done.stderr


def test_nothing_of_a_fit_without_a_terminal_is_a_progress_bar(shapes: Path, tmp_path: Path) -> None:
    arguments = ["fit", "--data-dir", str(shapes), "--mode", "efficientnet_lite0", "--output-dir", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "trainer", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\r" not in done.stdout
    assert "switches to it by itself" in done.stdout


def test_ctrl_c_is_one_sentence_and_leaves_nothing(shapes: Path, tmp_path: Path) -> None:
    many = tmp_path / "data"
    for copy in range(40):
        shutil.copytree(shapes, many / f"class{copy % 2}" / str(copy))
    for number, path in enumerate(sorted(many.rglob("*.png"))):
        with path.open("ab") as file:  # other bytes, the same picture: nothing of it is cached
            file.write(number.to_bytes(4, "big"))
    arguments = ["fit", "--data-dir", str(many), "--mode", "efficientnet_lite0", "--output-dir", str(tmp_path / "runs")]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "trainer", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("backbone"):
                break
        time.sleep(0.5)  # into the backbone pass, which takes tens of seconds
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=600)
    assert child.returncode == 130
    assert error == "trainer: interrupted\n"
    assert not (tmp_path / "runs").exists()


def test_the_fitted_run_is_what_the_default_pointer_names(fitted: FitOutcome) -> None:
    assert json.loads((fitted.run.parent / "current.json").read_text())["run"] == fitted.run.name
