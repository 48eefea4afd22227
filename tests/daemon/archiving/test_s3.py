"""A real S3 API, on this machine, over a network that fails one request in fifty: nothing is lost, nothing doubled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from daemon.archiving import stores
from daemon.commands.archive_apply import main as apply_main
from models.backoff import Backoff
from tests.daemon.archiving.conftest import Archive
from tests.pictures import KINDS
from tests.unreliable_store import ONE_IN, UnreliableStore, images, serving

pytest.importorskip("moto.server", reason="moto, a server of S3, is not installed")
s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
boto3 = pytest.importorskip("boto3")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[UnreliableStore]:
    with serving() as (store, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(stores, "BETWEEN_TRIES", Backoff(0.0, 0.0))
        s3fs.S3FileSystem.clear_instance_cache()
        yield store
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.filterwarnings("ignore")  # of the libraries of the client and the server
@pytest.mark.parametrize(
    ("engine", "copies"),
    [
        ("local", 1),
        pytest.param("local", 250, marks=pytest.mark.slow),
        pytest.param("ray", 250, marks=pytest.mark.slow),
    ],
)
def test_a_bucket_is_archived_and_filed(
    archive: Archive, server: UnreliableStore, capsys: pytest.CaptureFixture[str], engine: str, copies: int
) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    client = boto3.client("s3")
    for path in archive.inbox.rglob("*.jpg"):
        for number in range(copies):
            name = f"in/{number}/{path.relative_to(archive.inbox)}"
            client.put_object(Bucket="photos", Key=name, Body=path.read_bytes() + b"%d" % number)
    before = images(client)
    server.is_failing = True
    tally = archive.run("s3://photos/in", engine=engine)
    assert tally.outcomes == {"sure": 12 * copies, "quarantine": copies}
    assert sorted(row["uri"] for row in archive.rows()) == sorted(f"s3://photos/{key}" for key in before)
    server.read.clear()
    assert archive.run("s3://photos/in", engine=engine).known == 13 * copies
    assert not server.read
    server.lists = 0
    for expected in ({"filed": 12 * copies, "refused": copies}, {"already": 12 * copies, "refused": copies}):
        capsys.readouterr()
        assert apply_main([str(archive.manifest), "--output", "s3://photos/out", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["statuses"] == expected
    assert apply_main([str(archive.manifest), "--output", "s3://photos/moved", "--action", "move"]) == 0
    assert not server.lists  # which would be one for each object
    server.is_failing = False
    after = images(client)
    assert not [key for key in after if key.startswith("in/")]
    pictures = Counter(etag for key, etag in before.items() if not key.endswith("broken.jpg"))
    assert Counter(etag for key, etag in after.items() if key.startswith("out/")) == pictures
    assert Counter(etag for key, etag in after.items() if key.startswith("moved/")) == Counter(before.values())
    assert Counter(key.split("/")[1] for key in after if key.startswith("out/")) == dict.fromkeys(KINDS, 3 * copies)
    assert server.failed or server.requests < 3 * ONE_IN
