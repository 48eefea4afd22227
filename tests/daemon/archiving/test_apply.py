"""By a manifest images are filed on this machine as the daemon files them, and an undo takes it back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daemon.__main__ import main
from daemon.archiving.shards import hold_for_applying
from daemon.commands.archive import main as archive_main
from daemon.commands.archive_apply import main as apply_main
from models.errors import UserError
from models.text.commandline import normalise
from tests.daemon.archiving.conftest import Archive
from tests.pictures import KINDS, files_below, save


def apply(archive: Archive, *options: str) -> int:
    output = str(archive.settings.output)
    return apply_main(normalise([str(archive.manifest), "--output", output, "--log-level", "WARNING", *options]))


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_images_are_copied_once_and_an_undo_takes_it_back(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    archive.run()
    assert apply(archive, "--json") == 0
    said = answer(capsys)
    assert said["statuses"] == {"filed": 12, "refused": 1}
    there = {kind: [f"{kind}.jpg", f"{kind}_2.jpg", f"{kind}_3.jpg"] for kind in KINDS}
    assert files_below(archive.settings.output) == there
    assert len([*archive.inbox.rglob("*.jpg")]) == 13
    assert apply(archive, "--json") == 0
    assert answer(capsys)["statuses"] == {"already": 13}
    assert files_below(archive.settings.output) == there
    assert main(["undo", "--run", said["run"], "--output", str(archive.settings.output)]) == 0
    assert not any(files_below(archive.settings.output).values())
    capsys.readouterr()
    assert apply(archive, "--json") == 0
    assert answer(capsys)["statuses"]["held"] == 12
    assert apply(archive) == 0
    assert f"python -m daemon release --all --output {archive.settings.output}" in capsys.readouterr().out


def test_images_are_moved_once(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    archive.run()
    assert apply(archive, "--action", "move", "--json") == 0
    assert answer(capsys)["statuses"] == {"filed": 13}
    assert [*archive.inbox.rglob("*.jpg")] == []
    broken = archive.settings.output / "quarantine/not-an-image/broken.jpg"
    assert broken.with_name("broken.jpg.json").is_file()
    assert apply(archive, "--action", "move", "--json") == 0
    assert answer(capsys)["statuses"] == {"already": 13}


def test_what_changed_or_went_is_not_touched_and_said(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    archive.run()
    (archive.inbox / "0/fog.jpg").unlink()
    save("discs", 7, archive.inbox / "7.jpg").replace(archive.inbox / "1/fog.jpg")
    assert apply(archive, "--action", "move", "--json") == 3
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert (said["statuses"], said["left"]) == ({"filed": 11, "gone": 1, "changed": 1}, 2)
    assert (archive.inbox / "1/fog.jpg").is_file()
    assert "1/fog.jpg is left behind: it changed since it was archived" in err


def test_a_failure_is_one_sentence_that_names_the_image_once(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.run()
    archive.settings.output.mkdir()
    (archive.settings.output / "fog").write_bytes(b"no folder")
    assert apply(archive, "--action", "move") == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if "0/fog.jpg" in line]
    assert len(lines) == 1
    assert lines[0].count("0/fog.jpg") == 1


def test_an_output_that_is_gone_is_said(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    archive.run()
    assert apply(archive) == 0
    archive.settings.output.rename(archive.settings.output.with_name("renamed"))
    assert "is not there" not in capsys.readouterr().err
    assert apply(archive) == 0
    assert "is not there and is made anew" in capsys.readouterr().err


def test_an_output_of_another_name_is_not_filled_again(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    archive.run()
    assert apply(archive) == 0
    before = files_below(archive.settings.output)
    renamed = archive.settings.output.rename(archive.settings.output.with_name("사진"))
    other = archive._replace(settings=archive.settings.model_copy(update={"output": renamed}))
    with pytest.raises(UserError, match=f"images were filed into {renamed} when it had another name"):
        apply(other)
    assert files_below(renamed) == before
    renamed.rename(archive.settings.output)
    capsys.readouterr()
    assert apply(archive, "--json") == 0
    assert answer(capsys)["statuses"] == {"already": 13}


def test_nothing_is_overwritten(archive: Archive) -> None:
    archive.run()
    own = archive.settings.output / "fog" / "fog.jpg"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    assert apply(archive) == 0
    assert own.read_bytes() == b"mine"
    assert len([*own.parent.glob("*.jpg")]) == 4


def test_another_threshold_decides_anew_without_a_model(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    archive.run()
    limit = sorted(row["confidence"] for row in archive.rows() if row["class_name"])[6]
    assert apply(archive, "--threshold", repr(limit), "--dry-run", "--json") == 0
    assert answer(capsys)["folders"]["others"] == 6
    assert not archive.settings.output.exists()
    assert apply(archive, "--threshold", repr(limit), "--others-dir", "기타") == 0
    assert len(files_below(archive.settings.output)["기타"]) == 6
    assert "6  기타" in capsys.readouterr().out


def test_a_class_of_the_name_of_another_folder_is_a_sentence(archive: Archive) -> None:
    archive.run()
    with pytest.raises(UserError, match="has a class fog, which is the folder of other images"):
        apply(archive, "--others-dir", "fog")


def test_two_processes_do_not_file_by_one_manifest(archive: Archive) -> None:
    archive.run()
    with hold_for_applying(archive.manifest), pytest.raises(UserError, match="another process files by the manifest"):
        apply(archive)


@pytest.mark.parametrize("output", ["memory://out", "s3://bucket/out"])
def test_pictures_of_this_machine_do_not_go_into_a_bucket(archive: Archive, output: str) -> None:
    pytest.importorskip("fsspec")
    if output.startswith("s3"):
        pytest.importorskip("s3fs")
    archive.run()
    with pytest.raises(UserError, match="does not lie in the store of"):
        apply_main([str(archive.manifest), "--output", output])


def test_without_a_manifest_it_is_said_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no manifest in .*: make one first"):
        apply_main([str(tmp_path), "--output", str(tmp_path / "out")])


def test_links_are_made(archive: Archive) -> None:
    archive.run()
    assert apply(archive, "--action", "link") == 0
    fog = archive.settings.output / "fog"
    assert {path.stat().st_nlink for path in fog.glob("*.jpg")} == {2}


def test_what_cannot_be_filed_by_a_manifest_is_said(archive: Archive) -> None:
    with pytest.raises(UserError, match="--action: invalid choice: 'tag'"):
        apply(archive, "--action", "tag")
    with pytest.raises(UserError, match="there is no folder repport: did you mean archive report"):
        archive_main(["repport", str(archive.manifest)])
    with pytest.raises(UserError, match="'s3://bucket/m' is no folder of this machine"):
        archive_main([str(archive.inbox), "--manifest", "s3://bucket/m"])


def test_images_that_are_filed_are_not_archived_again(archive: Archive) -> None:
    inside = archive._replace(settings=archive.settings.model_copy(update={"output": archive.inbox / "정리"}))
    inside.run()
    assert apply(inside) == 0
    tally = inside.run()
    assert (tally.looked_at, tally.known) == (0, 13)


def test_copies_among_the_images_are_refused(archive: Archive) -> None:
    archive.run()
    mixed = archive._replace(settings=archive.settings.model_copy(update={"output": archive.inbox}))
    before = files_below(archive.inbox)
    with pytest.raises(UserError, match="lies in the output, and would be there twice: give another --output"):
        apply(mixed)
    assert files_below(archive.inbox) == before
    assert apply(mixed, "--action", "move") == 0
    assert {name: len(files) for name, files in files_below(archive.inbox).items() if files} == {
        **dict.fromkeys(KINDS, 3),
        "quarantine": 1,
    }


def test_images_that_lie_where_they_belong_are_left_there(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    archive.run()
    apply(archive, "--action", "move")
    again = archive._replace(inbox=archive.settings.output, manifest=archive.manifest.with_name("again"))
    before = files_below(archive.settings.output)
    again.run()
    capsys.readouterr()
    assert apply(again, "--action", "move", "--json") == 0
    assert answer(capsys)["statuses"] == {"already": 13}
    assert files_below(archive.settings.output) == before
