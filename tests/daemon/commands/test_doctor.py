"""``python -m daemon doctor``: each finding, and what it says to do."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import config
from daemon.__main__ import main
from daemon.commands import doctor, unit
from daemon.commands.doctor import (
    as_text,
    decoder_findings,
    examine,
    model_findings,
    own_folder_findings,
    unit_findings,
)
from daemon.commands.hook_probes import hook_findings
from daemon.commands.probes import Finding, event_findings, fine
from daemon.files import answers
from daemon.state import journal_of
from models.text.language import speaking
from tests.daemon.commands.findings import raising, wrongs
from tests.daemon.conftest import Publish
from tests.filing_desk import bound_by_modes


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "start_logging", lambda *_, **__: None)  # the tests have a log of their own
    for name in ("inbox", "sorted"):
        (tmp_path / name).mkdir()


def started(state: Path | None, output: Path) -> None:
    """Leave what the first start of a daemon leaves."""
    journal = journal_of(state, output)
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.touch()


def test_a_healthy_machine_has_nothing_wrong_and_nothing_is_left_behind(
    tmp_path: Path, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(tmp_path / "checkpoints" / "run")
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("nothing is wrong\n")
    for subject in (
        "inbox",
        "events",
        "limits",
        "output",
        "state",
        "cache",
        "checkpoint",
        "weights",
        "decoders",
        "control",
        "unit",
    ):
        assert f" {subject}: " in said
    assert [*Path("inbox").iterdir(), *Path("sorted").iterdir()] == []


def test_what_is_wrong_is_said_with_advice_and_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    started(None, Path("sorted"))
    Path("inbox").rmdir()
    assert main(["doctor", "--json", "--checkpoint", "lost.safetensors"]) == 3
    answer = json.loads(capsys.readouterr().out)
    wrong = {each["subject"]: each for each in answer["findings"] if each["state"] == "wrong"}
    assert answer["wrong"] == len(wrong) == 2
    assert "mkdir -p" in wrong["inbox"]["advice"]
    assert "there is no checkpoint" in wrong["checkpoint"]["text"]


def test_files_that_are_not_looked_at_are_a_note(
    tmp_path: Path, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(tmp_path / "checkpoints" / "run")
    Path("inbox/noext").touch()
    Path("inbox/day").mkdir()
    Path("inbox/day/scan.pdf").touch()
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    (said,) = [each for each in findings if "not looked at" in each["text"]]
    assert (said["subject"], said["state"]) == ("inbox", "note")
    assert said["text"].startswith("2 other files in ")


def test_a_plugin_that_is_allowed_and_not_installed_is_named(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(tmp_path / "checkpoints" / "run")
    monkeypatch.setenv("IMAGESORTD_PLUGINS", "absent")
    assert main(["doctor", "--json"]) == 3
    wrong = [each for each in json.loads(capsys.readouterr().out)["findings"] if each["state"] == "wrong"]
    assert [(each["subject"], each["text"]) for each in wrong] == [("plug-in", "absent is allowed but not installed")]


def test_every_subject_is_called_something_in_korean() -> None:
    commands = Path(doctor.__file__).parent
    source = "".join(file.read_text() for file in [*commands.glob("*probes.py"), commands / "doctor.py"])
    subjects = set(re.findall(r'\b(?:fine|note|wrong|silent)\(\s*"([a-z-]+)"', source))
    assert len(subjects) > 10
    with speaking("ko"):
        assert [subject for subject in subjects if subject in as_text(fine(subject, ""))] == []


def test_advice_stands_on_a_line_of_its_own_and_names_are_escaped() -> None:
    finding = Finding("inbox", "wrong", "in\x1bbox is not there", "make it")
    assert as_text(finding) == "WRONG inbox: in\\x1bbox is not there\n      -> make it"


def test_a_full_disk_is_taken_for_nothing_else_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", raising(errno.ENOSPC))
    (events,) = event_findings(tmp_path / "inbox", poll=False)
    assert events.state == "note"
    (state,) = own_folder_findings("state", tmp_path / "state" / "inside")
    assert state.state == "wrong"
    assert state.text == f"{tmp_path / 'state' / 'inside'} cannot be written (No space left on device)"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["inbox", "sorted"]


def test_the_starter_is_noted_and_a_published_checkpoint_is_fine(tmp_path: Path, publish: Publish) -> None:
    settings = config.load({})
    starter, weights = model_findings(settings)
    assert (starter.state, weights.state) == ("note", "fine")
    assert starter.advice is not None
    assert f"--output-dir {settings.checkpoint} learns" in starter.advice, "where this daemon looks"
    publish(tmp_path / "checkpoints" / "run")
    assert [finding.state for finding in model_findings(settings)] == ["fine", "fine"]


def test_a_decoder_that_is_missing_or_old_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrongs(decoder_findings()) == []
    monkeypatch.setattr("PIL.features.check", lambda name: name != "avif")
    (text,) = wrongs(decoder_findings())
    assert "AVIF" in text
    monkeypatch.setattr("PIL.__version__", "12.1.0")
    assert len(wrongs(decoder_findings())) == 2


def test_a_command_that_is_not_there_is_wrong() -> None:
    (text,) = wrongs(hook_findings(config.load({"on_filed": "no-such-program --x"})))
    assert "no-such-program" in text
    assert wrongs(hook_findings(config.load({"on_filed": "cat"}))) == []
    assert list(hook_findings(config.load({}))) == []


def test_a_command_without_a_network_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit, "SYSTEM_FOLDER", tmp_path)
    settings = config.load({"on_filed": "cat"})
    assert [each.state for each in hook_findings(settings)] == ["fine"], "no unit is installed"
    for network, states in ((False, ["fine", "note"]), (True, ["fine"])):
        text = unit.render(settings, {}, None, user=False, run_as="imagesortd", network=network)
        unit.write(text, tmp_path)
        found = list(hook_findings(settings))
        assert [each.state for each in found] == states
    unit.write("[Service]\nIPAddressDeny=any\n", tmp_path)
    assert "--network" in (list(hook_findings(settings))[-1].advice or "")


def test_a_network_that_was_asked_for_is_not_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/systemd-analyze")
    monkeypatch.setattr(unit, "SYSTEM_FOLDER", tmp_path)
    monkeypatch.setattr(doctor, "exposure", lambda _: 1.2)
    settings = config.load({})
    for network, count in ((False, 1), (True, 0)):
        unit.write(unit.render(settings, {}, None, user=False, run_as="imagesortd", network=network), tmp_path)
        assert len(wrongs(unit_findings(settings, {}, None))) == count


@pytest.mark.parametrize("user", [False, True])
def test_a_unit_that_lacks_what_would_be_written_now_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, user: bool
) -> None:
    monkeypatch.setattr(unit, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = unit.user_folder() if user else unit.SYSTEM_FOLDER
    settings = config.load({"output": tmp_path / "sorted"})
    text = unit.render(settings, {}, None, user=user, run_as="imagesortd")
    unit.write(text, folder)
    assert [each for each in unit_findings(settings, {}, None) if "it lacks" in each.text] == []
    older = "".join(
        line for line in text.splitlines(keepends=True) if not line.startswith(("WatchdogSec", "MemoryMax"))
    )
    unit.write(older, folder)
    (found,) = [each for each in unit_findings(settings, {}, None) if "it lacks" in each.text]
    assert found.text.endswith("it lacks WatchdogSec, MemoryMax")
    assert found.state == "wrong"


def test_an_exposed_unit_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/systemd-analyze")
    settings = config.load({})
    monkeypatch.setattr(doctor, "exposure", lambda _: 9.2)
    (text,) = wrongs(unit_findings(settings, {}, None))
    assert "9.2 of 10" in text
    monkeypatch.setattr(doctor, "exposure", lambda _: 0.3)
    assert wrongs(unit_findings(settings, {}, None)) == []


def test_everything_is_examined_though_no_folder_may_be_entered(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    names = ("inbox", "sorted", "state", "cache", "checkpoints")
    for name in names:
        (closed / name).mkdir(parents=True)
    settings = config.load(
        {
            "watch": [closed / "inbox"],
            "output": closed / "sorted",
            "checkpoint": closed / "checkpoints",
            "state_dir": closed / "state",
            "cache_dir": closed / "cache",
        }
    )
    closed.chmod(0)
    try:
        with bound_by_modes():
            config.check_together(settings)
            found = list(examine(settings, {}, None))
    finally:
        closed.chmod(0o755)
    assert found[-1].subject == "unit"
    texts = wrongs(found)
    for name in names:
        assert any(text.startswith(str(closed / name)) and "Permission denied" in text for text in texts), texts


def test_everything_is_examined_though_much_is_missing(tmp_path: Path) -> None:
    settings = config.load({"watch": ["a", "b"], "output": "c", "state_dir": "d"})
    before = [finding for finding in examine(settings, {}, None) if "is not there" in finding.text]
    assert [finding.state for finding in before] == ["fine"] * 3, "the daemon makes them at its first start"
    started(Path("d"), settings.output)
    texts = wrongs(examine(settings, {}, None))
    assert len([text for text in texts if "is not there" in text]) == 3


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An inbox whose file system does not answer: whoever asks it waits."""
    answer = threading.Event()
    folder = Path.cwd() / "hung"
    folder.mkdir()
    as_it_was = os.statvfs

    def hang(path: str) -> object:
        if str(path) == str(folder):
            assert answer.wait(300)
        return as_it_was(path)

    monkeypatch.setattr(os, "statvfs", hang)
    yield folder
    answer.set()


def test_a_folder_that_does_not_answer_is_named_and_the_others_are_looked_at(
    hung: Path, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "checkpoints" / "run")
    monkeypatch.setattr(doctor, "answers", lambda folder: answers.answers(folder, 0.2))
    settings = config.load({"watch": [tmp_path / "inbox", hung]})
    found = [*examine(settings, {}, None)]
    assert wrongs(found) == [f"{hung} has not answered for 10 s, and blocks the daemon"]
    assert [each for each in found if each.subject == "events"] != []
    settings = config.load({"output": hung})
    assert wrongs(examine(settings, {}, None)) == [f"{hung} has not answered for 10 s, and blocks the daemon"]


def test_settings_whose_folders_do_not_answer(
    hung: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their links are followed before anything else is known."""

    def load(*_: object) -> object:
        os.statvfs(hung)
        raise AssertionError("never reached")

    monkeypatch.setattr(config, "load", load)
    monkeypatch.setattr(doctor, "in_time", lambda call: answers.in_time(call, 0.2))
    monkeypatch.setattr(doctor, "silent_mounts", lambda: answers.silent_mounts(0.2))
    monkeypatch.setattr(answers, "remote_mounts", lambda: [str(hung), str(tmp_path)])
    assert main(["doctor"]) == 3
    said = capsys.readouterr().out
    assert f"WRONG mounts: {hung} has not answered" in said
    assert "settings: one of the folders in the settings does not answer" in said
    assert said.endswith("2 things to fix\n")
