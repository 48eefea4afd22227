"""The command of on_filed: what it is told, and that nothing it does harms the filing."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon import config
from daemon.filing.filer import Status
from daemon.filing.outcome import Outcome
from daemon.monitoring.hooks import Hook, line
from models.deciding.rule import Fate
from models.errors import UserError
from tests.pictures import KINDS, save
from tests.processes import PATIENCE, daemon, run, wait_for


def filed(name: str, status: Status = Status.FILED) -> Outcome:
    return Outcome(
        path=Path("/inbox") / name,
        status=status,
        label="dog",
        confidence=0.5,
        fate=Fate.SURE,
        destination=Path("/sorted/dog") / name,
    )


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def told(file: Path) -> list[str]:
    """The names of the images the command was told of."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [Path(json.loads(each)["file"]).name for each in lines]


def tee(file: Path) -> list[str]:
    return ["sh", "-c", f"cat >> '{file}'"]


def test_each_filed_image_is_told_once_in_order(tmp_path: Path) -> None:
    hook = Hook(tee(tmp_path / "told"), PATIENCE)
    for batch in range(3):
        for number in range(4):
            hook.outcome(filed(f"{batch}-{number}.png"))
        hook.outcome(filed("left.png", Status.RETRY))
        hook.flush()
    hook.close()
    assert told(tmp_path / "told") == [f"{batch}-{number}.png" for batch in range(3) for number in range(4)]


def test_a_line_says_what_became_of_the_image() -> None:
    said = json.loads(line(filed("a\nb.png"), datetime(2026, 1, 2, tzinfo=UTC)))
    assert said == {
        "time": "2026-01-02T00:00:00.000+00:00",
        "file": "/inbox/a\nb.png",
        "destination": "/sorted/dog/a\nb.png",
        "class": "dog",
        "confidence": 0.5,
        "reason": None,
        "detail": None,
    }


def test_a_name_that_is_no_text_arrives_as_it_is() -> None:
    name = os.fsdecode(b"caf\xe9\n.png")
    text = line(filed(name), datetime.now(UTC))
    assert text.count("\n") == 1
    assert os.fsencode(json.loads(text)["file"]) == b"/inbox/caf\xe9\n.png"


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["/no/such/program"], "it cannot be run: No such file or directory"),
        (python("import sys; sys.exit('out\\x1b of order')"), "it ended with code 1: out\\x1b of order"),
        (python("import sys; sys.stdin.close(); sys.exit(3)"), "it ended with code 3"),
        (python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), "it ended with code -9"),
    ],
    ids=["missing", "exit 1", "reads nothing", "killed"],
)
def test_a_failure_is_logged_once_and_harms_nothing(command: list[str], complaint: str, logged: list[str]) -> None:
    hook = Hook(command, PATIENCE)
    for number in range(2):
        for _ in range(500):
            hook.outcome(filed(f"{number}.png"))
        hook.flush()
        wait_for(lambda: any(complaint in each for each in logged), complaint)
    hook.close()
    assert len([each for each in logged if complaint in each]) == 1


def test_a_command_that_works_again_is_said_to(tmp_path: Path, logged: list[str]) -> None:
    flag = tmp_path / "flag"
    hook = Hook(["sh", "-c", f"cat > /dev/null; test -e '{flag}'"], PATIENCE)
    hook.outcome(filed("1.png"))
    hook.flush()
    wait_for(lambda: logged, "a complaint")
    flag.touch()
    hook.outcome(filed("2.png"))
    hook.close()
    assert logged[-1] == "on_filed: the command works again"


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path, logged: list[str]) -> None:
    pid = tmp_path / "pid"
    hook = Hook(["sh", "-c", f"sleep 1000 & echo $! > '{pid}.new'; mv '{pid}.new' '{pid}'; wait"], 0.5)
    hook.outcome(filed("1.png"))
    hook.flush()
    wait_for(lambda: any("took longer than 0.5 s and was killed" in each for each in logged), "the end of the command")
    hook.close()
    child = Path(f"/proc/{int(pid.read_text())}/stat")
    wait_for(lambda: not child.exists() or ") Z " in child.read_text(), "the end of its child")


def test_a_slow_command_holds_nobody_up_and_what_is_too_much_is_counted(
    tmp_path: Path, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.monitoring.hooks.MOST_PENDING", 5)
    began, gate, file = tmp_path / "began", tmp_path / "gate", tmp_path / "told"
    hook = Hook(["sh", "-c", f": > '{began}'; until test -e '{gate}'; do sleep 0.01; done; cat >> '{file}'"], PATIENCE)
    hook.outcome(filed("first.png"))
    hook.flush()
    wait_for(began.exists, "a run that waits")
    for number in range(8):
        hook.outcome(filed(f"{number}.png"))
        hook.flush()
    gate.touch()
    hook.close()
    assert told(file) == ["first.png", "3.png", "4.png", "5.png", "6.png", "7.png"]
    assert "on_filed: the command is too slow; it was not told of 3 images" in logged


def test_the_setting_is_a_string_or_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.load({"on_filed": "notify 'a b'"}).on_filed == ["notify", "a b"]
    Path("config.toml").write_text('on_filed = ["notify", "a b"]\n')
    assert config.load({}).on_filed == ["notify", "a b"]
    with pytest.raises(UserError, match="--on-filed is .*, which is not valid: No closing quotation"):
        config.load({"on_filed": "'"})


def test_a_daemon_runs_the_command_and_survives_it(tmp_path: Path) -> None:
    file = tmp_path / "told"
    command = f"sh -c \"cat >> '{file}'; exit 1\""
    with daemon(tmp_path, "--on-filed", command) as running:
        save(KINDS[0], 1, tmp_path / "inbox" / "one.png")
        running.wait_until_said("it ended with code 1")
        save(KINDS[0], 2, tmp_path / "inbox" / "two.png")
        wait_for(lambda: told(file) == ["one.png", "two.png"], "both images")
        assert running.terminate() == 0


def test_a_single_pass_waits_for_the_command_and_a_dry_run_has_none(tmp_path: Path) -> None:
    file = tmp_path / "told"
    (tmp_path / "inbox").mkdir()
    save(KINDS[0], 1, tmp_path / "inbox" / "one.png")
    options = ("--once", "--on-filed", f"sh -c \"cat >> '{file}'\"")
    assert run("daemon", *options, "--dry-run", cwd=tmp_path).returncode == 0
    assert told(file) == []
    assert run("daemon", *options, cwd=tmp_path).returncode == 0
    assert told(file) == ["one.png"]


def test_a_line_has_the_letters_of_names_and_is_valid_whatever_they_are() -> None:
    hangul, bytes_ = (filed(name) for name in ("봄.jpg", os.fsdecode(b"caf\xe9.jpg")))
    assert '"file": "/inbox/봄.jpg"' in line(hangul, datetime(2026, 1, 2, tzinfo=UTC))
    said = line(bytes_, datetime(2026, 1, 2, tzinfo=UTC)).encode("utf-8")
    assert os.fsencode(json.loads(said)["file"]) == b"/inbox/caf\xe9.jpg"
