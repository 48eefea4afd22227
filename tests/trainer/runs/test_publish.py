from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from models.checkpoints import checkpoint as checkpoints
from models.errors import CheckpointError, UserError
from models.files.markers import record_names
from models.text.commandline import run
from models.weights.store import WeightsStore
from trainer.__main__ import main
from trainer.fit import FitOutcome, fit
from trainer.fitted import FitOptions
from trainer.runs.folder import METRICS
from trainer.runs.listing import as_rows, list_runs, print_rows
from trainer.runs.publications import HISTORY
from trainer.runs.publish import STARTER, publish, rollback


@pytest.fixture
def runs(fitted: FitOutcome, tmp_path: Path) -> Path:
    """Three runs a, b, c with the same checkpoint; nothing is published."""
    for name in "abc":
        shutil.copytree(fitted.run, tmp_path / name)
    return tmp_path


def current(folder: Path) -> str | None:
    pointer = checkpoints.read_pointer(folder)
    return None if pointer is None else pointer.run


def test_publishing_points_at_the_run_and_its_very_file(runs: Path, store: WeightsStore) -> None:
    found = publish(runs / "b", store)
    assert current(runs) == "b"
    assert checkpoints.load(runs).digest == found.digest


def test_a_full_disk_is_one_sentence_and_leaves_what_is_published(
    runs: Path, store: WeightsStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    publish(runs / "a", store)
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "atomic_file", full)
        assert run(main, ["publish", "b", "--output-dir", str(runs)]) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert "b is not published, and the daemon goes on as before" in sentence
    assert "No space left on device" in sentence
    assert current(runs) == "a"
    assert run(main, ["publish", "b", "--output-dir", str(runs)]) == 0
    assert rollback(runs, store) == ("a", "b")


def test_a_disk_that_is_full_for_the_history_alone_is_one_sentence(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / HISTORY).symlink_to("/dev/full")
    assert run(main, ["publish", "a", "--output-dir", str(runs)]) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert "a is published, but" in sentence
    assert "rollback will not know of it" in sentence
    assert current(runs) == "a"


def test_rolling_back_goes_back_step_by_step(runs: Path, store: WeightsStore) -> None:
    for name in "abc":
        publish(runs / name, store)
    assert rollback(runs, store) == ("b", "c")
    assert rollback(runs, store) == ("a", "b")
    assert rollback(runs, store) == (STARTER, "a")  # which served before the first one
    assert current(runs) is None
    assert checkpoints.is_starter_published(runs)
    with pytest.raises(UserError, match="nothing is published"):
        rollback(runs, store)
    publish(runs / "b", store)
    assert rollback(runs, store) == (STARTER, "b")


def test_the_starter_can_be_gone_back_to_at_once_and_is_listed(
    runs: Path, store: WeightsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        publish(runs / name, store)
    assert run(main, ["rollback", "--starter", "--output-dir", str(runs)]) == 0
    assert "rolled back from b to the starter model" in capsys.readouterr().out
    assert run(main, ["list", "--output-dir", str(runs)]) == 0
    assert "* the daemon serves the starter model after a rollback" in capsys.readouterr().out


def test_what_the_daemon_would_refuse_is_not_published(runs: Path, store: WeightsStore) -> None:
    classes = checkpoints.read(runs / "a" / checkpoints.FILE_NAME).metadata.classes
    record_names(runs, Path("/sorted"), [classes[0].upper(), "quarantine"])
    with pytest.raises(UserError, match=f"a is not published: it has a class {classes[0]}, and the daemon's folders"):
        publish(runs / "a", store)
    assert current(runs) is None
    record_names(runs, Path("/sorted"), ["others", "quarantine"])
    publish(runs / "a", store)


def test_publishing_says_which_class_folders_go_once_and_before_it_is_done(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(main, ["publish", "a", "--output-dir", str(runs)]) == 0
    said = capsys.readouterr().out
    before, after = said.split("\npublished", 1)
    assert "class folders of the starter model will get no more images" in before
    assert "dog" in before
    assert "to keep them" in before
    assert "trainer rollback" in before
    assert "no more images" not in after
    assert run(main, ["publish", "b", "--output-dir", str(runs)]) == 0  # of the same classes
    assert "no more images" not in capsys.readouterr().out


def test_publishing_again_after_a_rollback_leads_back_to_where_it_was(runs: Path, store: WeightsStore) -> None:
    for name in "abc":
        publish(runs / name, store)
    rollback(runs, store)
    publish(runs / "a", store)
    assert rollback(runs, store) == ("b", "a")


def test_publishing_the_same_run_twice_is_one_step(runs: Path, store: WeightsStore) -> None:
    for name in "abb":
        publish(runs / name, store)
    assert rollback(runs, store) == ("a", "b")


def test_nothing_published_is_said(runs: Path, store: WeightsStore) -> None:
    with pytest.raises(UserError, match="nothing is published"):
        rollback(runs, store)


def test_a_damaged_run_is_not_published(runs: Path, store: WeightsStore) -> None:
    publish(runs / "a", store)
    (runs / "b" / checkpoints.FILE_NAME).write_bytes(b"damaged")
    with pytest.raises(CheckpointError):
        publish(runs / "b", store)
    assert current(runs) == "a"


def damage(run: Path) -> None:
    """Overwrite two bytes so little that the golden samples, in whose pictures they are, still come out."""
    path = run / checkpoints.FILE_NAME
    data = bytearray(path.read_bytes())
    at = len(data) - 2000
    data[at : at + 2] = bytes(value ^ 1 for value in data[at : at + 2])
    path.write_bytes(data)


def other_numbers(run: Path) -> None:
    """Make the checkpoint one whose head computes something else than its golden samples say."""
    path = run / checkpoints.FILE_NAME
    found = checkpoints.read(path)
    path.unlink()
    checkpoints.write(
        replace(found, head=replace(found.head, bias=found.head.bias + np.array([9, 0, 0], np.float32))), path
    )


def test_two_other_bytes_are_refused_wherever_the_run_is_used(
    runs: Path, store: WeightsStore, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(runs / "a", store)
    publish(runs / "b", store)
    damage(runs / "b")
    checkpoints.read(runs / "b" / checkpoints.FILE_NAME)
    with pytest.raises(CheckpointError, match="go back with python -m trainer rollback, or fit again"):
        checkpoints.load(runs)
    common = ("--output-dir", str(runs))
    evaluate = ["evaluate", "--data-dir", str(shapes), "--checkpoint", str(runs / "b"), "--output-dir", str(runs / "x")]
    for arguments in (["publish", "b", *common], evaluate):
        assert run(main, arguments) == 2
        said = capsys.readouterr().err
        assert "the checkpoint of run b is damaged: it is not the file that was made" in said
        assert said.count("\n") == 1
    assert "is damaged" in list_runs(runs)[1].problem
    assert not (runs / "x").exists()
    assert rollback(runs, store) == ("a", "b")


def test_what_was_published_first_counts_where_the_run_records_nothing(runs: Path, store: WeightsStore) -> None:
    (runs / "a" / METRICS).unlink()
    (runs / "b" / METRICS).write_text("{}")
    for name in "abc":
        publish(runs / name, store)
    damage(runs / "a")
    damage(runs / "b")
    for name in "ab":
        with pytest.raises(CheckpointError, match="not the file that was made"):
            publish(runs / name, store)
    with pytest.raises(CheckpointError, match="not the file that was made"):
        rollback(runs, store)
    assert current(runs) == "c"


def test_a_run_whose_records_are_damaged_is_refused(runs: Path, store: WeightsStore) -> None:
    (runs / "a" / METRICS).write_text("{")
    with pytest.raises(CheckpointError, match="nothing tells whether the checkpoint is whole"):
        publish(runs / "a", store)


def test_a_checkpoint_that_computes_something_else_is_not_published(runs: Path, store: WeightsStore) -> None:
    publish(runs / "a", store)
    other_numbers(runs / "b")
    (runs / "b" / METRICS).unlink()  # nothing tells but the golden samples
    with pytest.raises(CheckpointError, match="golden samples give different results"):
        publish(runs / "b", store)
    assert current(runs) == "a"


def test_no_step_back_to_a_damaged_or_missing_run(runs: Path, store: WeightsStore) -> None:
    publish(runs / "a", store)
    publish(runs / "b", store)
    shutil.rmtree(runs / "a")
    with pytest.raises(CheckpointError):
        rollback(runs, store)
    assert current(runs) == "b"


def test_a_line_that_was_cut_off_is_passed_over(runs: Path, store: WeightsStore) -> None:
    publish(runs / "a", store)
    with (runs / HISTORY).open("a") as file:
        file.write('{"run": "x", "sha\n')
    publish(runs / "b", store)
    assert rollback(runs, store) == ("a", "b")


@pytest.mark.parametrize("torn", [b'{"run":"x","sha256":"', '{"run":"밤'.encode()[:-1], b"\0\0\0"])
def test_an_entry_after_a_line_that_was_cut_off_without_its_end_is_kept(
    runs: Path, store: WeightsStore, torn: bytes
) -> None:
    publish(runs / "a", store)
    with (runs / HISTORY).open("ab") as file:
        file.write(torn)
    publish(runs / "b", store)
    publish(runs / "c", store)
    assert rollback(runs, store) == ("b", "c")
    assert rollback(runs, store) == ("a", "b")


def test_an_entry_that_lacks_nothing_but_its_newline_counts(runs: Path, store: WeightsStore) -> None:
    for name in "ab":
        publish(runs / name, store)
    history = runs / HISTORY
    history.write_bytes(history.read_bytes().removesuffix(b"\n"))
    publish(runs / "c", store)
    assert rollback(runs, store) == ("b", "c")
    assert len(history.read_bytes().splitlines()) == 4


def test_runs_are_listed_with_their_figures(runs: Path, store: WeightsStore, fitted: FitOutcome) -> None:
    publish(runs / "b", store)
    (runs / "c" / checkpoints.FILE_NAME).write_bytes(b"damaged")
    (runs / ".run.half").mkdir()
    rows = as_rows(list_runs(runs))
    assert [(row["run"], row["current"], bool(row["problem"])) for row in rows] == [
        ("a", False, False),
        ("b", True, False),
        ("c", False, True),
    ]
    assert rows[0]["images"] == 72
    assert rows[0]["accuracy"] == fitted.predictions.figures()["accuracy"]


@pytest.fixture
def seoul(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nine hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Seoul")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("seoul")
def test_the_time_a_run_was_made_is_kept_and_printed_in_utc(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earliest = datetime.now(UTC).replace(second=0, microsecond=0)
    fit(FitOptions(data_dir=shapes, mode="efficientnet_lite0", output_dir=tmp_path, epochs=1, max_samples=5))
    latest = datetime.now(UTC)
    rows = as_rows(list_runs(tmp_path))
    created = datetime.fromisoformat(str(rows[0]["created"]))
    assert created.utcoffset() == timedelta(0)
    assert earliest <= created <= latest
    capsys.readouterr()
    print_rows(rows)
    assert f"{created:%Y-%m-%d %H:%M} UTC" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("created", "printed"),
    [
        ("2026-05-04T03:02:01+09:00", "  2026-05-03 18:02 UTC"),
        ("2026-05-04T03:02:01+00:00", "  2026-05-04 03:02 UTC"),
        ("", "  at an unknown time"),
    ],
)
def test_any_recorded_time_is_printed_in_utc(
    runs: Path, capsys: pytest.CaptureFixture[str], created: str, printed: str
) -> None:
    print_rows([row | {"created": created} for row in as_rows(list_runs(runs))])
    assert capsys.readouterr().out.count(f"{printed}\n") == 3
