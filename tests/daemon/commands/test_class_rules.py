"""Rules by class, as the commands know them: another output counts as much as the main one."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from loguru import logger

from daemon import config
from daemon.__main__ import main
from daemon.commands import unit
from daemon.commands.rule_probes import rule_findings, unknown_rule_findings
from daemon.files.output_mark import OUTPUT_MARK
from daemon.files.output_marks import OutputMarks
from daemon.journal.journal import read_labels
from daemon.monitoring.announcements import announce_rules
from models.deciding.rule import Fate
from models.errors import UserError
from models.weights.store import WeightsStore
from tests.command_desk import Office, make_office
from tests.daemon.conftest import Publish
from tests.filing_desk import images
from tests.pictures import KINDS, save


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGESORTD_WATCH", str(tmp_path / "inbox"))
    write(tmp_path, f'[class.discs]\noutput = "{tmp_path / "far"}"\nlayout = "{{class}}/{{stem}}"\n')
    return make_office(tmp_path, capsys)


@pytest.fixture(scope="module")
def newer(publish: Publish, store: WeightsStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("newer")
    publish(folder / "run", KINDS, threshold=0.3)
    return folder


def write(folder: Path, text: str) -> None:
    (folder / "config.toml").write_text(text, encoding="utf-8")


def far(office: Office) -> Path:
    return office.desk.output.parent / "far"


def file(office: Office, name: str = "a.png", folder: str = "others", kind: str = "discs") -> Path:
    picture = save(kind, 1, office.desk.inbox / name)
    rules = config.load({"output": office.desk.output}).class_rules
    fate = Fate.UNSURE if folder == "others" else Fate.SURE
    decision = office.desk.decide(picture, folder, label=kind, confidence=0.5, fate=fate)
    (result,) = office.desk.file([decision], rules=rules)
    assert result.destination is not None
    return result.destination


def places(office: Office) -> list[str]:
    top = office.desk.output.parent
    return sorted(str(path.relative_to(top)) for folder in ("sorted", "far") for path in images(top / folder))


def test_relabel_goes_to_the_output_of_the_class_and_undo_back(office: Office) -> None:
    file(office)
    code, said = office.run("relabel", "a.png", "discs", "--new")
    there = far(office) / "discs/a/a.png"
    assert (code, said.splitlines()[0]) == (0, f"others/a.png -> {there}")
    (label,) = read_labels(office.desk.journal_path)
    assert (label.label, label.path) == ("discs", there)
    assert office.run("relabel", "a.png", "discs")[1].startswith(f"{there} is there already")
    assert office.run("relabel", str(there), "fog", "--new")[0] == 0
    assert places(office) == ["sorted/fog/a.png"]
    assert office.run("undo", "--last", "1")[1].splitlines()[-1] == "1 went back", "and not to an inbox"
    assert places(office) == ["far/discs/a/a.png"]
    undo = shlex.split(said.splitlines()[-1].removeprefix("To take it back: python -m daemon "))
    assert main(undo) == 0
    assert places(office) == ["sorted/others/a.png"]


def test_history_knows_where_images_of_other_outputs_lie(office: Office) -> None:
    filed = file(office, folder="discs")
    assert f"a.png -> {filed} (discs 0.50" in office.run("history")[1]
    (office.desk.output / "fog").mkdir(parents=True)
    filed.rename(office.desk.output / "fog/b.png")
    assert f"a.png -> {filed} (discs 0.50), corrected to fog" in office.run("history")[1]
    (row,) = office.json("history", "--class", "fog")
    assert row["now"] == str(office.desk.output / "fog/b.png")
    (far(office) / "discs/mine").mkdir()
    (office.desk.output / "fog/b.png").rename(far(office) / "discs/mine/c.png")
    assert f"now in {far(office)}/discs/mine" in office.run("history")[1], "in the same class still"


@pytest.mark.parametrize("is_rule_new", [True, False])
def test_resort_moves_between_outputs_and_undo_back(office: Office, newer: Path, is_rule_new: bool) -> None:
    rules = Path("config.toml").read_text(encoding="utf-8")
    if is_rule_new:
        write(Path(), "")
        file(office, folder="discs")
    else:
        file(office, folder="fog", kind="discs")
    before = places(office)
    write(Path(), rules)
    code, said = office.run("resort", "--checkpoint", str(newer), "--dry-run")
    assert (code, places(office)) == (0, before)
    assert f"a.png would go to {far(office)}/discs/a/a.png" in said
    said = office.run("resort", "--checkpoint", str(newer))[1]
    assert places(office) == ["far/discs/a/a.png"]
    assert office.run("resort", "--checkpoint", str(newer))[1].startswith("0 moved")
    undo = shlex.split(said.splitlines()[-1].removeprefix("To take it back: python -m daemon "))
    assert main(undo) == 0
    assert places(office) == before


def test_resort_says_by_which_thresholds_it_goes(office: Office, newer: Path) -> None:
    file(office, folder="fog", kind="discs")
    write(Path(), "[class.discs]\nthreshold = 0.9\n")
    said = office.run("resort", "--checkpoint", str(newer), "--dry-run")[1]
    assert "(unsure under 0.30; by rules of classes: discs 0.90); stay: " in said


@pytest.mark.parametrize("name", ["..", "a/../b", "dog ", ""])
def test_a_rule_of_what_no_class_can_be_called_is_refused(office: Office, name: str) -> None:
    write(Path(), f'[class."{name}"]\nthreshold = 0.9\n')
    with pytest.raises(UserError, match="cannot be a folder's name"):
        config.load({})


def test_a_rule_of_the_others_is_told_to_do_nothing(office: Office) -> None:
    write(Path(), "[class.others]\nthreshold = 0.9\n")
    says = "the rule of 'others' does nothing: that is the folder of other images, and no class"
    assert [finding.text for finding in unknown_rule_findings(config.load({}), ["fog"])] == [says]
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(message.record["message"]), level="WARNING")
    announce_rules(config.load({}), ["fog"])
    logger.remove(handler)
    assert lines == [says]


def test_what_lies_on_a_drive_that_is_away_stays_in_the_journal(office: Office) -> None:
    """Of an output that is not there, nothing is taken for gone, and nothing is put in its place."""
    write(Path(), f'[class.discs]\noutput = "{far(office)}"\n')
    office.run("relabel", file(office).name, "discs", "--new")
    mark = far(office) / OUTPUT_MARK
    assert not mark.exists(), "a command makes none"
    marks_made(office)
    away = far(office).rename(far(office).with_name("away"))
    far(office).mkdir()
    (far(office) / OUTPUT_MARK).write_text('{"number": "another"}'.ljust(512))
    (far(office) / OUTPUT_MARK).chmod(0o600)
    code, said = office.run("undo", "--last", "1")
    assert code == 3
    assert "is not the one that images were filed into before: mount its drive" in said
    assert [path.name for path in images(far(office))] == []
    (far(office) / OUTPUT_MARK).unlink()
    far(office).rmdir()
    away.rename(far(office))
    assert office.run("undo", "--last", "1")[0] == 0
    assert places(office) == ["sorted/others/a.png"]


def marks_made(office: Office) -> None:
    marks = OutputMarks([office.desk.output, far(office)], office.desk.journal_path.parent)
    with marks.at_work():
        pass
    marks.release()


def test_what_a_rule_leaves_is_said_and_undone(office: Office) -> None:
    write(Path(), '[class.discs]\naction = "leave"\n')
    picture = save("discs", 1, office.desk.inbox / "a.png")
    rules = config.load({"output": office.desk.output}).class_rules
    office.desk.file([office.desk.decide(picture, "discs", confidence=0.5)], rules=rules)
    assert "left where it is: a.png (discs 0.50)" in office.run("history")[1]
    (row,) = office.json("history")
    assert (row["state"], row["destination"], row["now"]) == ("left", None, str(picture))
    code, said = office.run("relabel", str(picture), "discs", "--new")
    assert code == 3
    assert f"'{picture}' was left in its inbox, and is not filed: to have it filed, " in said
    assert f"{picture} will be classified again" in office.run("undo", "--last", "1")[1]
    assert "undone: a.png" in office.run("history")[1]


def test_the_unit_may_write_the_outputs_of_classes(office: Office) -> None:
    settings = config.load({})
    assert far(office) in unit.writable(settings)
    text = unit.render(settings, {}, None, user=False, run_as="imagesortd")
    (line,) = [line for line in text.splitlines() if line.startswith("RequiresMountsFor=")]
    assert str(far(office)) in line


def test_doctor_looks_at_the_outputs_layouts_and_names_of_rules(office: Office) -> None:
    settings = config.load({"output": office.desk.output, "state_dir": office.state})
    far(office).mkdir()
    texts = [finding.text for finding in rule_findings(settings, set())]
    assert any(str(far(office)) in text for text in texts)
    assert any("would go to discs/IMG_0001/IMG_0001.jpg" in text for text in texts)
    (finding,) = unknown_rule_findings(settings, ["disc", "fog"])
    assert (finding.state, finding.advice) == ("note", "did you mean 'disc'?")
    assert list(unknown_rule_findings(settings, ["discs/round"])) == []
