"""A job leaves one row for each image in the manifest, and looks at none twice."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from daemon.archiving import local_engine
from daemon.archiving.manifest import blocks, read_newest
from daemon.archiving.rows import hash_of
from daemon.archiving.shards import Shard, hold_shard
from models.errors import UserError
from models.files.atomic import file_digest
from tests.daemon.archiving.conftest import Archive
from tests.daemon.conftest import Publish
from tests.pictures import KINDS, save


def _refuse_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_at(*_: object) -> None:
        raise AssertionError("an image is looked at")

    monkeypatch.setattr(local_engine.LocalEngine, "look_at", look_at)


def test_every_image_is_a_row_with_what_is_known_of_it(archive: Archive) -> None:
    path = archive.inbox / "0/discs.jpg"
    exif = Image.Exif()
    exif[0x0132] = "2019:07:08 09:10:11"
    with Image.open(path) as picture:
        narrow = Image.fromarray(np.asarray(picture)[:, :64])
    narrow.save(path, exif=exif)
    tally = archive.run()
    assert tally.outcomes == Counter({"sure": 12, "quarantine": 1})
    rows = {row["uri"]: row for row in archive.rows()}
    assert set(rows) == {file.as_uri() for file in archive.inbox.rglob("*.jpg")}
    row = rows[path.as_uri()]
    assert row["uri_hash"] == hash_of(path.as_uri())
    assert (row["size"], row["mtime_ns"]) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert row["sha256"] == file_digest(path)
    assert (row["width"], row["height"]) == (64, 96)
    assert (f"{row['taken']:%Y-%m-%d %H:%M:%S}", row["taken_by"]) == ("2019-07-08 09:10:11", "exif")
    assert row["class_name"] == row["label"] == "discs"
    assert row["confidence"] > row["second_confidence"] > row["third_confidence"] > 0
    assert len({row["class_name"], row["second"], row["third"]}) == 3
    assert row["strangeness"] == 0
    assert row["model"] == file_digest(archive.settings.checkpoint / "run" / "checkpoint.safetensors")
    broken = rows[(archive.inbox / "broken.jpg").as_uri()]
    assert (broken["outcome"], broken["reason"]) == ("quarantine", "not-an-image")
    assert broken["detail"]
    assert broken["class_name"] is None


def test_a_second_run_reads_no_image(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.run()
    _refuse_to_look(monkeypatch)
    tally = archive.run()
    assert (tally.looked_at, tally.known) == (0, 13)
    assert len(archive.rows()) == 13


def test_only_what_is_new_or_changed_is_looked_at_and_the_newest_row_counts(archive: Archive) -> None:
    archive.run()
    changed = archive.inbox / "0/fog.jpg"
    save("stripes", 9, archive.inbox / "9.jpg").replace(changed)
    save("checks", 9, archive.inbox / "한글 #1%.jpg")
    tally = archive.run()
    assert (tally.looked_at, tally.known) == (2, 12)
    assert len(archive.rows()) == 15
    newest = [row for table in read_newest(archive.manifest, ["uri", "class_name"]) for row in table.to_pylist()]
    assert len(newest) == 14
    assert {row["uri"]: row["class_name"] for row in newest}[changed.as_uri()] == "stripes"


def test_another_model_looks_at_all_again(
    archive: Archive, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.run()
    publish(tmp_path / "others" / "run", ["a", "b", "c", "d"])
    other = archive._replace(settings=archive.settings.model_copy(update={"checkpoint": tmp_path / "others"}))
    assert other.run().looked_at == 13
    newest = [row for table in read_newest(archive.manifest, ["class_name"]) for row in table.to_pylist()]
    assert Counter(row["class_name"] for row in newest) == {"a": 3, "b": 3, "c": 3, "d": 3, None: 1}
    _refuse_to_look(monkeypatch)
    assert other.run().looked_at == 0


def test_a_name_that_is_no_text_is_an_address_like_others(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    (archive.inbox / "1/fog.jpg").rename(archive.inbox / os.fsdecode(b"caf\xe9.jpg"))
    archive.run()
    assert [row["class_name"] for row in archive.rows() if row["uri"].endswith("/caf%E9.jpg")] == ["fog"]
    _refuse_to_look(monkeypatch)
    assert archive.run().known == 13


def test_the_manifest_may_lie_among_the_images(archive: Archive) -> None:
    inside = archive._replace(manifest=archive.inbox / "manifest")
    save("fog", 1, inside.manifest / "sheets" / "fog.jpg")
    assert inside.run().looked_at == 13


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_a_row_and_tried_again(archive: Archive) -> None:
    secret = archive.inbox / "0/fog.jpg"
    secret.chmod(0)
    assert archive.run().outcomes["unread"] == 1
    assert archive.run().looked_at == 0
    secret.chmod(0o600)
    assert archive.run().outcomes == {"sure": 1}


def test_the_manifest_may_be_the_folder_of_the_images(archive: Archive) -> None:
    assert archive._replace(manifest=archive.inbox).run().looked_at == 13


def test_shards_share_the_images_out(archive: Archive) -> None:
    counts = [archive.run(shard=f"{number}/3").looked_at for number in (1, 2, 3)]
    assert sum(counts) == 13
    assert max(counts) < 13
    assert len({row["uri"] for row in archive.rows()}) == len(archive.rows()) == 13
    assert archive.run().looked_at == 0


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", ""])
def test_what_is_no_shard_is_a_sentence(text: str) -> None:
    with pytest.raises(UserError, match="is not a shard: give --shard"):
        Shard.parse(text)


def test_two_processes_do_not_look_at_the_same_images(archive: Archive) -> None:
    archive.manifest.mkdir()
    with hold_shard(archive.manifest, Shard(1, 2)):
        with pytest.raises(UserError, match="looks at the images of shard 1/2"):
            archive.run(shard="1/2")
        with pytest.raises(UserError, match="the same number of shards"):
            archive.run()
        assert archive.run(shard="2/2").looked_at > 0
    assert archive.run().known > 0


def test_what_a_job_that_is_stopped_looked_at_is_kept(archive: Archive) -> None:
    asked = iter([False] * 4)
    done = archive.run(stopping=lambda: next(asked, True)).looked_at
    assert len(archive.rows()) == done < 13
    assert archive.run().looked_at == 13 - done


def test_a_block_is_there_as_a_whole_or_not_at_all(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(table: object, file: object, **_: object) -> None:
        file.write(b"PAR1")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", write_half)
        with pytest.raises(UserError, match="cannot be written: No space left on device"):
            archive.run()
    assert blocks(archive.manifest) == []
    assert archive.run().looked_at == 13


def test_a_damaged_block_is_a_sentence(archive: Archive) -> None:
    archive.run()
    (block,) = blocks(archive.manifest)
    block.write_bytes(block.read_bytes()[:-20])
    with pytest.raises(UserError, match="is damaged: delete it"):
        archive.run()
    block.unlink()
    assert archive.run().looked_at == 13


def test_the_classes_are_those_of_the_pictures(archive: Archive) -> None:
    archive.run()
    rows = [row for row in archive.rows() if row["class_name"]]
    assert {row["class_name"] for row in rows} == set(KINDS)
    assert all(row["uri"].endswith(f"/{row['class_name']}.jpg") for row in rows)
