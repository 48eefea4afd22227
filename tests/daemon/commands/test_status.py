"""``python -m daemon status``: the file, who reads it, and what a dead daemon leaves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from daemon import config
from daemon import state as places
from daemon.commands import status
from daemon.commands.status import as_text, find, is_running, read
from daemon.files.processes import process_began
from daemon.monitoring.health import (
    BurstHealth,
    ErrorHealth,
    Health,
    InboxHealth,
    ModelHealth,
    StallHealth,
    ThresholdHealth,
    UnfinishedHealth,
)
from daemon.monitoring.status_file import StatusFile
from daemon.state import lock, status_path
from models.errors import UserError
from models.text.commandline import run as complain
from models.text.language import speaking, tr
from tests.daemon.conftest import Publish
from tests.pictures import KINDS, save
from tests.processes import daemon, run, wait_for

HEALTH = Health(
    pid=os.getpid(),
    process=process_began(os.getpid()),
    started=1000.0,
    stopped=False,
    output="/sorted",
    inboxes=[
        InboxHealth(path="/inbox", mode="inotify", polled=None, missing=None, other_files=1),
        InboxHealth(path="/net", mode="polling", polled="it lies on nfs", missing=None),
        InboxHealth(path="/usb", mode="inotify", polled=None, missing="No such file or directory"),
    ],
    waiting=3,
    in_flight=1,
    oldest=1090.0,
    watched_folders=7,
    overflows=1,
    restarts=0,
    images={"sure": 12, "unsure": 2},
    attempts={"retry": 7},
    images_per_second=2.5,
    errors=1,
    last_error=ErrorHealth(time=1000.0, text="the disk is full"),
    model=ModelHealth(mode="hybrid", digest="0123456789abcdef", classes=4, starter=False),
    threshold=ThresholdHealth(value=0.75, why="so at most 1 % of those filed are wrong", unknown_too=True),
    reloads=2,
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "SYSTEM_STATE", tmp_path / "system")


def left(state: Path, output: Path, health: Health = HEALTH) -> Path:
    path = status_path(state, output)
    StatusFile(path).write(health.model_dump_json())
    return path


def test_people_read_everything_at_a_glance() -> None:
    assert as_text(HEALTH, True, 1100.0).splitlines() == [
        f"daemon      running, process {os.getpid()}, for 100 s",
        "inbox       /inbox (inotify), 1 other file, not looked at",
        "inbox       /net (polling: it lies on nfs)",
        "inbox       /usb (MISSING: No such file or directory)",
        "output      /sorted",
        "model       hybrid, checkpoint 0123456789ab; classes: 4, reloads: 2",
        "threshold   images it is less than 75 % sure of, or that are unlike anything it was taught, go to others/: "
        "so at most 1 % of those filed are wrong",
        "queue       3 waiting, 1 in flight",
        "oldest      waiting for 10 s",
        "images      12 in their class, 2 unsure",
        "speed       2.5 images/s over the last minute",
        "watching    folders: 7, overflows: 1, event reader restarts: 0",
        "last error  100 s ago (of 1): the disk is full",
    ]


def test_what_an_english_daemon_has_said_is_told_in_korean() -> None:
    said = tr("there is no program {program}", program="notify")
    health = HEALTH.model_copy(update={"output_away": said, "last_error": ErrorHealth(time=1000.0, text=said)})
    with speaking("ko"):
        text = as_text(health, True, 1100.0)
        assert text.count(tr("there is no program {program}", program="notify")) == 2
    assert "no program" not in text
    assert "No such file or directory" not in text


def test_from_when_on_images_are_rolled_up() -> None:
    one, two = ({"levels": levels} for levels in ({1: 0.9}, {1: 0.9, 2: 0.85}))
    healths = [HEALTH.model_copy(update={"threshold": HEALTH.threshold.model_copy(update=more)}) for more in (one, two)]
    line = "rolled up   images it is not so sure of go into "
    assert f"{line}the folder above their class if it is at least 90 % sure that they belong there\n" in as_text(
        healths[0], True, 1100.0
    )
    assert (
        f"{line}a folder above their class if it is sure enough that they belong there: at least 90 % at depth 1; at "
        "least 85 % at depth 2\n"
    ) in as_text(healths[1], True, 1100.0)
    assert Health.model_validate_json(healths[1].model_dump_json()) == healths[1]


def test_what_waits_for_its_burst_is_counted() -> None:
    """Such images are in flight, and lie in the inbox for some seconds."""
    health = HEALTH.model_copy(update={"bursts": BurstHealth(seconds=10.0, waiting=1)})
    line = "bursts      images of one camera within 10 s are decided together; 1 waits for others\n"
    assert line in as_text(health, True, 1100.0)


def test_thresholds_and_outputs_of_classes_are_lined_up_with_the_rest() -> None:
    threshold = HEALTH.threshold.model_copy(update={"own": {"receipt": 0.9, "dog": 0.5}})
    text = as_text(HEALTH.model_copy(update={"threshold": threshold, "other_outputs": {"/far": None}}), True, 1100.0)
    width = len("output of classes")
    rows = {line[:width].rstrip(): line[width:] for line in text.splitlines()}
    assert rows["output of classes"] == " /far"
    assert rows["of classes"] == " images of these need at least, by their rules: dog 50 %, receipt 90 %"
    assert rows["images"].startswith(" 12 ")


def test_what_does_not_answer_comes_first() -> None:
    hung = HEALTH.model_copy(update={"stall": StallHealth(inbox="/net", since=1060.0)})
    assert as_text(hung, True, 1100.0).splitlines()[1] == (
        "NO ANSWER   /net has not answered for 40 s, and blocks all work: look at its server or drive"
    )
    hung = HEALTH.model_copy(update={"stall": StallHealth(inbox=None, since=1000.0)})
    assert as_text(hung, True, 1100.0).splitlines()[1].startswith("NO PROGRESS for 100 s: ")


def test_an_estimate_is_called_one() -> None:
    text = as_text(HEALTH.model_copy(update={"waiting": 4436, "about": True}), True, 1100.0)
    assert "queue       about 4436 waiting, 1 in flight\n" in text


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    path = left(tmp_path, tmp_path / "out")
    assert read(path) == HEALTH
    older = json.loads(path.read_text())
    del older["attempts"]
    path.write_text(json.dumps(older))
    assert read(path) == HEALTH.model_copy(update={"attempts": {}})


def test_only_the_very_process_counts_as_running() -> None:
    assert is_running(HEALTH)
    assert not is_running(HEALTH.model_copy(update={"process": 1}))
    assert not is_running(HEALTH.model_copy(update={"stopped": True}))
    assert "GONE" in as_text(HEALTH, False, 1100.0)


def test_the_daemon_is_found_by_its_output_or_by_being_the_only_one(tmp_path: Path) -> None:
    settings = config.load({"state_dir": "state", "output": "mine"})
    with pytest.raises(UserError, match="no daemon left a status file"):
        find(settings, named=False)
    other = left(tmp_path / "state", tmp_path / "theirs")
    assert find(settings, named=False) == other
    left(tmp_path / "state", tmp_path / "third")
    with pytest.raises(UserError, match="say whose with --output, one of /sorted, /sorted"):
        find(settings, named=False)
    mine = left(tmp_path / "state", tmp_path / "mine")
    assert find(settings, named=False) == find(settings, named=True) == mine


@pytest.mark.parametrize("options", [[], ["--output", "mine"]])
def test_before_the_first_daemon_and_while_it_starts_none_runs(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its locks are the first thing that it takes; the status it writes once it is ready."""
    asked = ["--state-dir", "state", *options]
    assert complain(status.main, asked) == 3
    assert "left a status file" in capsys.readouterr().err
    with lock(tmp_path / "state", [tmp_path / "inbox", tmp_path / "mine"]):
        assert complain(status.main, asked) == 3
        assert "the daemon is just starting: ask again in a moment\n" in capsys.readouterr().err
        assert complain(status.main, ["--state-dir", "state", "--output", "other"]) == 3
        assert "left a status file" in capsys.readouterr().err
        left(tmp_path / "state", tmp_path / "mine")
        assert complain(status.main, asked) in (0, 3)
        assert "starting" not in capsys.readouterr().err
    assert complain(status.main, asked) in (0, 3)


def test_of_an_output_that_is_named_nothing_else_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left(tmp_path / "state", tmp_path / "theirs", HEALTH.model_copy(update={"stopped": True}))
    assert status.main(["--state-dir", "state"]) == status.main(["--state-dir", "state", "--output", "theirs"]) == 3
    capsys.readouterr()
    with pytest.raises(UserError) as refused:
        status.main(["--state-dir", "state", "--output", "nowhere"])
    assert str(refused.value) == (
        f"no daemon that files into {tmp_path / 'nowhere'} left a status file in {tmp_path / 'state'}: "
        "give the --output and the --state-dir of the daemon"
    )
    assert capsys.readouterr().out == ""


def test_where_the_daemon_is_stuck_its_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise UserError("the daemon does not answer")

    monkeypatch.setattr(status, "find_daemon", refuse)
    monkeypatch.setattr(status, "find_only_daemon", refuse)
    asked = ["--state-dir", "state", "--output", "mine"]
    assert complain(status.main, asked) == 2
    assert "does not answer" in capsys.readouterr().err, "there is no file"
    left(tmp_path / "state", tmp_path / "mine")
    assert complain(status.main, asked) == 0
    assert "12 in their class" in capsys.readouterr().out
    left(tmp_path / "state", tmp_path / "mine", HEALTH.model_copy(update={"process": 1}))
    assert complain(status.main, asked) == 2
    printed = capsys.readouterr()
    assert (printed.out, "does not answer" in printed.err) == ("", True), "the file is that of an earlier one"


def test_the_services_state_is_found_without_being_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    path = left(tmp_path / "system", tmp_path / "sorted")
    assert find(config.load({}), named=False) == path


def test_a_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        read(path)


def asked(folder: Path) -> dict[str, object]:
    done = run("daemon", "status", "--json", "--state-dir", "state", cwd=folder)
    assert done.stdout, done.stderr
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if answer["running"] else 3)
    assert isinstance(answer, dict)
    return answer


def test_a_real_daemon_is_seen_at_work_killed_and_stopped(tmp_path: Path, publish: Publish) -> None:
    publish(tmp_path / "checkpoints" / "run")
    with daemon(tmp_path, "--state-dir", "state") as running:
        save(KINDS[0], 1, tmp_path / "inbox" / "image.png")
        running.wait_until_said("image.png ->")
        wait_for(lambda: run("daemon", "status", "--state-dir", "state", cwd=tmp_path).returncode == 0, "its own word")
        wait_for(lambda: asked(tmp_path)["images"], "the image is counted")
        answer = asked(tmp_path)
        assert (answer["running"], answer["pid"]) == (True, running.process.pid)
        assert answer["inboxes"] == [
            {
                "path": str(tmp_path / "inbox"),
                "mode": "inotify",
                "polled": None,
                "missing": None,
                "apart": 0,
                "other_files": 0,
            }
        ]
        running.process.kill()
        running.process.wait()
        assert asked(tmp_path)["running"] is False
        assert "GONE" in run("daemon", "status", "--state-dir", "state", cwd=tmp_path).stdout
    with daemon(tmp_path, "--state-dir", "state") as running:
        wait_for(lambda: run("daemon", "status", "--state-dir", "state", cwd=tmp_path).returncode == 0, "its own word")
        assert asked(tmp_path)["running"]
        (tmp_path / "inbox" / "text.png").write_text("this is no picture")
        running.wait_until_said("text.png ->")
        assert running.terminate() == 0
        assert running.log().endswith("stopped: 1 quarantined\n")
    stopped = run("daemon", "status", "--state-dir", "state", cwd=tmp_path).stdout
    assert stopped.startswith("daemon      stopped")
    assert "images      1 quarantined\n" in stopped


def test_a_dry_run_leaves_no_word(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    assert run("daemon", "--once", "--dry-run", "--state-dir", "state", cwd=tmp_path).returncode == 0
    assert not (tmp_path / "state").exists()


def test_images_that_wait_for_their_writers_are_said() -> None:
    waiting = UnfinishedHealth(count=1, example="/inbox/a.jpg", since=1000.0)
    one = HEALTH.model_copy(update={"unfinished": waiting})
    assert "unfinished  1 image, for 100 s: /inbox/a.jpg" in as_text(one, True, 1100.0)
    two = HEALTH.model_copy(update={"unfinished": waiting.model_copy(update={"count": 2})})
    assert "2 images, for up to 100 s: such as /inbox/a.jpg" in as_text(two, True, 1100.0)
