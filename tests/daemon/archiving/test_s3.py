"""A real S3 API, on this machine, over a network that fails one request in fifty: nothing is lost, nothing doubled."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from daemon.archiving import stores
from daemon.commands.archive_apply import main as apply_main
from daemon.files.output_mark import OUTPUT_MARK
from models.backoff import Backoff
from tests.daemon.archiving.conftest import Archive
from tests.pictures import KINDS

pytest.importorskip("moto.server", reason="moto, a server of S3, is not installed")
s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
boto3 = pytest.importorskip("boto3")

#: One request of so many fails.
ONE_IN = 50


class _Unreliable:
    """A server that fails requests at random, half of them after it has carried them out."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._chance = random.Random(1)
        self._lock = threading.Lock()
        self.requests, self.failed = 0, 0
        self.read: Counter[str] = Counter()
        self.is_failing = False

    def __call__(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            fails = self.is_failing and self._chance.randrange(ONE_IN) == 0
            does_it_first = self._chance.random() < 0.5
            self.requests += 1
            self.failed += fails
            if environment["REQUEST_METHOD"] == "GET" and environment["PATH_INFO"].endswith(".jpg"):
                self.read[environment["PATH_INFO"]] += 1
        if not fails:
            return self._application(environment, start)
        if does_it_first:
            list(self._application(environment, lambda *_: lambda __: None))
        start("503 Service Unavailable", [("Content-Length", "0")])
        return []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Unreliable]:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = _Unreliable(DomainDispatcherApplication(create_backend_app))
    serving = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{serving.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(stores, "BETWEEN_TRIES", Backoff(0.0, 0.0))
    s3fs.S3FileSystem.clear_instance_cache()
    yield application
    s3fs.S3FileSystem.clear_instance_cache()
    serving.shutdown()
    thread.join()
    serving.server_close()


def keys(client: Any) -> dict[str, str]:
    """All images of the bucket, with their checksums."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="photos")
    objects = {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", ())}
    return {key: etag for key, etag in objects.items() if not key.endswith(f"/{OUTPUT_MARK}")}


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
    archive: Archive, server: _Unreliable, capsys: pytest.CaptureFixture[str], engine: str, copies: int
) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    client = boto3.client("s3")
    client.create_bucket(Bucket="photos")
    for path in archive.inbox.rglob("*.jpg"):
        for number in range(copies):
            name = f"in/{number}/{path.relative_to(archive.inbox)}"
            client.put_object(Bucket="photos", Key=name, Body=path.read_bytes() + b"%d" % number)
    before = keys(client)
    server.is_failing = True
    tally = archive.run("s3://photos/in", engine=engine)
    assert tally.outcomes == {"sure": 12 * copies, "quarantine": copies}
    assert sorted(row["uri"] for row in archive.rows()) == sorted(f"s3://photos/{key}" for key in before)
    server.read.clear()
    assert archive.run("s3://photos/in", engine=engine).known == 13 * copies
    assert not server.read
    for expected in ({"filed": 12 * copies, "refused": copies}, {"already": 12 * copies, "refused": copies}):
        capsys.readouterr()
        assert apply_main([str(archive.manifest), "--output", "s3://photos/out", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["statuses"] == expected
    assert apply_main([str(archive.manifest), "--output", "s3://photos/moved", "--action", "move"]) == 0
    server.is_failing = False
    after = keys(client)
    assert not [key for key in after if key.startswith("in/")]
    pictures = Counter(etag for key, etag in before.items() if not key.endswith("broken.jpg"))
    assert Counter(etag for key, etag in after.items() if key.startswith("out/")) == pictures
    assert Counter(etag for key, etag in after.items() if key.startswith("moved/")) == Counter(before.values())
    assert Counter(key.split("/")[1] for key in after if key.startswith("out/")) == dict.fromkeys(KINDS, 3 * copies)
    assert server.failed or server.requests < 3 * ONE_IN
