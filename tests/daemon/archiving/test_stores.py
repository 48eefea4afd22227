"""Images of a store, such as a bucket: every one is a row, and every one is filed once, however often requests fail."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from daemon.archiving import stores
from daemon.archiving.stores import Store, local_path
from daemon.commands.archive_apply import main as apply_main
from models.backoff import Backoff
from models.errors import UserError
from tests.daemon.archiving.conftest import Archive
from tests.pictures import KINDS

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def bucket(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The pictures of the archive in the memory of this process, as a store that loses one request in ten."""
    memory = fsspec.filesystem("memory")
    for path in archive.inbox.rglob("*.jpg"):
        memory.pipe_file(f"/in/{path.relative_to(archive.inbox)}", path.read_bytes())
    memory.pipe_file("/in/notes.txt", b"text")
    monkeypatch.setattr(stores, "BETWEEN_TRIES", Backoff(0.0, 0.0))
    yield memory
    monkeypatch.undo()
    for folder in ("/in", "/out"):
        if memory.exists(folder):
            memory.rm(folder, recursive=True)


def fail_now_and_then(bucket: Any, monkeypatch: pytest.MonkeyPatch, one_in: int) -> Counter[str]:
    """Let requests fail at random, before and after they are carried out; returns how many of each kind did."""
    chance, failed = random.Random(1), Counter[str]()

    def unreliable(name: str) -> Any:
        real = getattr(bucket, name)

        def request(*arguments: Any, **options: Any) -> Any:
            is_failing, is_done_first = chance.randrange(one_in) == 0, chance.random() < 0.5
            if not is_failing or is_done_first:
                answer = real(*arguments, **options)
            if is_failing:
                failed[name] += 1
                raise ConnectionError("the connection was lost")
            return answer

        return request

    for name in ("ls", "info", "get_file", "cp_file", "open"):
        monkeypatch.setattr(bucket, name, unreliable(name))
    return failed


def images_below(bucket: Any, folder: str) -> list[str]:
    return sorted(path for path in bucket.find(folder) if path.endswith(".jpg"))


def below(bucket: Any, folder: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in images_below(bucket, folder):
        inside, _, name = path.removeprefix(f"{folder}/").rpartition("/")
        found.setdefault(inside, []).append(name)
    return found


def apply(archive: Archive, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    capsys.readouterr()
    code = apply_main([str(archive.manifest), "--output", "memory://out", "--json", *options])
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == (3 if said["left"] else 0)
    return said


def test_a_bucket_is_archived_and_filed_though_requests_fail(
    archive: Archive, bucket: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = fail_now_and_then(bucket, monkeypatch, one_in=10)
    tally = archive.run("memory://in")
    assert tally.outcomes == {"sure": 12, "quarantine": 1}
    assert [row["uri"] for row in archive.rows()] == sorted(
        f"memory:/{path}" for path in bucket.find("/in", maxdepth=9) if path.endswith(".jpg")
    )
    assert archive.run("memory://in").looked_at == 0
    assert apply(archive, capsys)["statuses"] == {"filed": 12, "refused": 1}
    assert failed["get_file"] or failed["info"]
    filed = below(bucket, "/out")
    assert {kind: len(names) for kind, names in filed.items()} == dict.fromkeys(sorted(KINDS), 3)
    assert all(f"{kind}.jpg" in names for kind, names in filed.items())
    contents = {bucket.cat_file(path) for path in images_below(bucket, "/out")}
    assert len(contents) == 12
    assert apply(archive, capsys)["statuses"] == {"already": 12, "refused": 1}
    assert below(bucket, "/out") == filed
    assert len(bucket.find("/in")) == 14


def test_moving_takes_each_away_once(archive: Archive, bucket: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bucket.cp_file("/in/0/fog.jpg", "/in/again/fog.jpg")
    bucket.pipe_file("/out/fog/fog.jpg", b"another picture")
    archive.run("memory://in")
    assert apply(archive, capsys, "--action", "move")["statuses"] == {"filed": 14}
    assert bucket.find("/in") == ["/in/notes.txt"]
    filed = below(bucket, "/out")
    assert len(filed["fog"]) == 5
    assert bucket.cat_file("/out/fog/fog.jpg") == b"another picture"
    assert filed["quarantine/not-an-image"] == ["broken.jpg"]
    assert apply(archive, capsys, "--action", "move")["statuses"] == {"already": 14}


def test_what_lies_where_it_belongs_is_not_moved_onto_itself(
    archive: Archive, bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.cp_file("/in/0/fog.jpg", "/out/fog/fog.jpg")
    archive.run("memory://out")
    assert apply(archive, capsys, "--action", "move")["statuses"] == {"already": 1}
    assert images_below(bucket, "/out") == ["/out/fog/fog.jpg"]


def test_what_changed_in_the_bucket_is_not_touched(
    archive: Archive, bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.run("memory://in")
    bucket.pipe_file("/in/0/fog.jpg", b"written anew")
    bucket.rm_file("/in/1/fog.jpg")
    said = apply(archive, capsys, "--action", "move")
    assert (said["statuses"], said["left"]) == ({"filed": 11, "changed": 1, "gone": 1}, 2)
    assert bucket.cat_file("/in/0/fog.jpg") == b"written anew"


def test_a_picture_that_cannot_be_fetched_is_a_row_and_tried_again(
    archive: Archive, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bucket.get_file

    def refuse_one(path: str, to: str) -> None:
        if path.endswith("0/fog.jpg"):
            raise PermissionError("Access Denied")
        real(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(bucket, "get_file", refuse_one)
        assert archive.run("memory://in").outcomes == {"sure": 11, "quarantine": 1, "unread": 1}
        assert archive.run("memory://in").looked_at == 0
    (row,) = [row for row in archive.rows() if row["outcome"] == "unread"]
    assert row["detail"] == "PermissionError: Access Denied"
    assert archive.run("memory://in").outcomes == {"sure": 1}
    assert archive.run("memory://in").looked_at == 0


def test_a_file_over_the_limit_is_a_row_and_not_fetched(archive: Archive, bucket: Any) -> None:
    bucket.pipe_file("/in/large.jpg", bytes((1 << 20) + 1))
    small = archive._replace(settings=archive.settings.model_copy(update={"max_file_mb": 1}))
    small.run("memory://in/")
    assert [row["reason"] for row in small.rows() if row["uri"].endswith("large.jpg")] == ["too-large"]


def test_a_store_that_is_not_known_is_a_sentence() -> None:
    with pytest.raises(UserError, match="nothing://place cannot be opened"):
        Store("nothing://place")


def test_a_folder_that_is_not_there_is_said(archive: Archive, logged: list[str]) -> None:
    tally = archive.run("memory://nowhere")
    assert (tally.looked_at, tally.unreadable) == (0, 1)
    assert "memory://nowhere cannot be read: No such file or directory" in logged


def test_a_link_is_refused_in_a_bucket(archive: Archive, bucket: Any) -> None:
    archive.run("memory://in")
    with pytest.raises(UserError, match="has no links: give --action copy or move"):
        apply_main([str(archive.manifest), "--output", "memory://out", "--action", "link"])


def test_a_file_url_is_a_path() -> None:
    assert str(local_path("file:///a%20b/caf%C3%A9")) == "/a b/café"
    assert local_path("s3://bucket") is None


def test_what_is_filed_in_the_bucket_is_not_archived_again(
    archive: Archive, bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.run("memory://in")
    assert apply_main([str(archive.manifest), "--output", "memory://in/sorted"]) == 0
    assert len(images_below(bucket, "/in")) == 25
    tally = archive.run("memory://in")
    assert (tally.looked_at, tally.known) == (0, 13)
    with pytest.raises(UserError, match="memory://in/.* lies in the output, and would be there twice"):
        apply_main([str(archive.manifest), "--output", "memory://in"])
