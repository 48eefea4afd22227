"""A bucket of many small objects, in and out, over a network that fails: ``python -m tests.benchmarks.buckets``.

A real S3 API (moto's server) on this machine fails one request in fifty, half of them after they were carried out. The
objects, of which each has content of its own and one in a hundred is no picture, are archived, archived again, filed
within the bucket, and filed again. Each must have one row, be read once, and lie once, as it was, in the output: the
benchmark ends with an error where one is lost or doubled. The model is one that takes no time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from daemon.archiving.manifest import blocks, read_block
from tests.benchmarks import small_model
from tests.pictures import KINDS, save
from tests.processes import ROOT
from tests.unreliable_store import BUCKET, UnreliableStore, client, images, serving

#: Pictures of each kind, to whose ends is written which object they are; objects of a folder; one of so many is none.
_DRAWN, _IN_FOLDER, _BROKEN = 25, 1000, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=50_000)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--work", type=Path, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as temporary, serving() as (store, environment):
        work = (options.work or Path(temporary)).absolute()
        figures = measure(store, environment, work, options.objects, options.engine)
    print(f"\n{options.objects} objects, by {options.engine}; requests to the store, and how many of them failed\n")
    print(f"{'':16}{'seconds':>10}{'objects/s':>11}{'requests':>10}{'failed':>8}")
    for step, seconds, requests, failed in figures:
        print(f"{step:16}{seconds:10.1f}{options.objects / seconds:11.1f}{requests:10}{failed:8}")
    print("\n0 lost, 0 double")
    if options.json:
        options.json.write_text(json.dumps({"objects": options.objects, "steps": figures}, indent=1))


def measure(
    store: UnreliableStore, environment: dict[str, str], work: Path, count: int, engine: str
) -> list[tuple[str, float, int, int]]:
    """Do all steps, and see after each that nothing is lost or double; returns what each took."""
    manifest = Path(tempfile.mkdtemp(dir=work, prefix="manifest-"))
    checkpoint = small_model.published(work)
    broken = fill(work, environment, count)
    before = images(client(environment))
    assert len(before) == count
    store.is_failing = True
    url, out = f"s3://{BUCKET}/in", f"s3://{BUCKET}/out"
    archive = ["archive", url, "--manifest", str(manifest), "--engine", engine, "--checkpoint", str(checkpoint)]
    archive += ["--cache-dir", str(work / "cache"), *small_model.GIVEN]
    apply = ["archive", "apply", str(manifest), "--output", out]
    figures = []
    for step, command, expected in (
        ("archive", archive, {"looked_at": count}),
        ("again", archive, {"looked_at": 0, "known": count}),
        ("apply", apply, {"statuses": {"filed": count - broken, "refused": broken}}),
        ("again", apply, {"statuses": {"already": count - broken, "refused": broken}}),
    ):
        requests, failed, started = store.requests, store.failed, time.perf_counter()
        said = run(command, small_model.environment(work) | environment)
        figures.append((step, time.perf_counter() - started, store.requests - requests, store.failed - failed))
        print(*figures[-1], flush=True)
        assert {key: said[key] for key in expected} == expected, said
        if command is archive:
            assert addresses(manifest) == Counter(f"s3://{BUCKET}/{key}" for key in before)
            assert store.read.keys() == {f"/{BUCKET}/{key}" for key in before}
    store.is_failing = False
    after = images(client(environment))
    assert {key: etag for key, etag in after.items() if key.startswith("in/")} == before
    filed = Counter(etag for key, etag in after.items() if key.startswith("out/"))
    assert filed == Counter(etag for key, etag in before.items() if not key.endswith("broken.jpg"))
    return figures


def fill(work: Path, environment: dict[str, str], count: int) -> int:
    """Put the objects into the bucket, in this process and not by its API; returns how many are no pictures."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    drawn = [
        save(kind, seed, work / "drawn" / f"{kind}{seed}.jpg").read_bytes() for kind in KINDS for seed in range(_DRAWN)
    ]
    backend, broken = s3_backends[DEFAULT_ACCOUNT_ID]["aws"], 0
    for number in range(count):
        is_broken = number % _BROKEN == 0
        content = b"no picture" if is_broken else drawn[number % len(drawn)]
        # Names repeat from folder to folder, so that most objects find theirs taken where they are filed.
        name = f"in/{number // _IN_FOLDER}/{number % _IN_FOLDER}{'broken' if is_broken else ''}.jpg"
        backend.put_object(BUCKET, name, content + b"%d" % number)
        broken += is_broken
    return broken


def addresses(manifest: Path) -> Counter[str]:
    """How many rows each address has."""
    return Counter(uri for path in blocks(manifest) for uri in read_block(path, ["uri"])["uri"].to_pylist())


def run(arguments: Sequence[str], environment: dict[str, str]) -> dict[str, object]:
    """Run a command to its end; returns what it printed as JSON."""
    command = [sys.executable, "-m", "daemon", *arguments, "--json", "--log-level", "WARNING"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    said: dict[str, object] = json.loads(done.stdout)
    return said


if __name__ == "__main__":
    main()
