"""A real S3 API on this machine, over a network that fails one request in fifty."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

from daemon.files.output_mark import OUTPUT_MARK

#: One request of so many fails.
ONE_IN = 50
BUCKET = "photos"


class UnreliableStore:
    """A server that fails requests at random, half of them after it has carried them out.

    ``read`` are the images that were read, by path, ``lists`` the requests for a list.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._chance = random.Random(1)
        self._lock = threading.Lock()
        self.requests, self.failed, self.lists = 0, 0, 0
        self.read: Counter[str] = Counter()
        self.is_failing = False

    def __call__(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            fails = self.is_failing and self._chance.randrange(ONE_IN) == 0
            does_it_first = self._chance.random() < 0.5
            self.requests += 1
            self.failed += fails
            self.lists += "list-type=" in environment["QUERY_STRING"]
            if environment["REQUEST_METHOD"] == "GET" and environment["PATH_INFO"].endswith(".jpg"):
                self.read[environment["PATH_INFO"]] += 1
        if not fails:
            return self._application(environment, start)
        if does_it_first:
            list(self._application(environment, lambda *_: lambda __: None))
        start("503 Service Unavailable", [("Content-Length", "0")])
        return []


@contextmanager
def serving() -> Iterator[tuple[UnreliableStore, dict[str, str]]]:
    """Serve an empty bucket; yields the server, and what the environment of its clients has to say."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else it tells of each request
    store = UnreliableStore(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, store, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "AWS_DEFAULT_REGION": "us-east-1"}
    environment |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")
    try:
        # The server keeps its buckets as long as the process lives.
        urlopen(Request(f"{environment['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")).close()
        client(environment).create_bucket(Bucket=BUCKET)
        yield store, environment
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def client(environment: dict[str, str]) -> Any:
    """Make a client of the store."""
    import boto3

    return boto3.client("s3", **_as_arguments(environment))


def images(client: Any) -> dict[str, str]:
    """All images of the bucket, with their checksums."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    objects = {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", ())}
    return {key: etag for key, etag in objects.items() if not key.endswith(f"/{OUTPUT_MARK}")}


def _as_arguments(environment: dict[str, str]) -> dict[str, str]:
    return {
        "endpoint_url": environment["AWS_ENDPOINT_URL"],
        "region_name": environment["AWS_DEFAULT_REGION"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
    }
