"""Fitting: a first fit, a second one from cached features, and a plain loop that runs the frozen backbone every epoch.

``python -m tests.benchmarks.fitting [--data DIR] [--memory] [--json FILE]``. Without ``--data`` it is fitted on folds 0
to 3 of intel_scenes6. The pass through the backbone is compared with the same runtime on images that are decoded
already, and with that and their decoding one after the other: neither hashes, caches or audits. The plain loop is
torch's: the frozen embedded backbone and a linear head, batches of 32, decoded by Pillow in as many threads as there
are cores; one epoch of at most 480 images is measured, and taken ten times for all images. ``--memory`` fits on 3,000
and on 30,000 small pictures as well, which takes many minutes.

Seconds are of a whole process, imports included; beside them the seconds of both cores, which a busy machine changes
less. The graph of the backbone is exported before.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from models import registry
from models.decoding.images import Crop, decode
from models.files.image_names import is_image_name
from models.inference.runtime import cores, open_extractor
from models.registry import Backbone
from models.weights.store import WeightsStore
from tests.conftest import SHARED_DATA

ROOT = Path(__file__).resolve().parents[2]
EPOCHS, BATCH, MEASURED = 10, 32, 480
SIZES = (3_000, 30_000)

FIT = """
import sys, warnings
warnings.simplefilter("ignore")
from trainer.__main__ import main
main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@dataclass(frozen=True)
class Run:
    """One process: seconds on the clock and of CPU time, its highest resident memory, seconds for the features."""

    seconds: float
    cpu_seconds: float
    mebibytes: float
    features_seconds: float


def main() -> None:
    """Print the tables, and write them as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder of class folders")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        store = WeightsStore(scratch / "cache")
        backbone = registry.locate(registry.EMBEDDED, None, store)
        open_extractor([backbone], store)
        data = options.data or scenes(scratch / "data")
        paths = sorted(path for path in data.rglob("*") if is_image_name(path.name))
        result: dict[str, object] = {"images": len(paths), "fits": speed(data, paths, backbone, store, scratch)}
        if options.memory:
            result["memory"] = {count: asdict(memory(count, store, scratch)) for count in SIZES}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


def scenes(folder: Path) -> Path:
    """Links to folds 0 to 3 of intel_scenes6."""
    with (SHARED_DATA / "intel_scenes6.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["fold"] != "4":
                (folder / row["file"]).parent.mkdir(parents=True, exist_ok=True)
                (folder / row["file"]).symlink_to(SHARED_DATA / "intel_scenes6" / row["file"])
    return folder


def speed(data: Path, paths: list[Path], backbone: Backbone, store: WeightsStore, scratch: Path) -> dict[str, object]:
    """The two fits and the loop, side by side."""
    first, second = fit(data, store, scratch), fit(data, store, scratch)
    epoch = plain_epoch(paths, backbone)
    runtime, decoding = bare_pass(paths, backbone, store)
    print(f"{len(paths)} images, {cores()} cores, {os.getloadavg()[0]:.1f} processes waiting or running")
    print(f"{'':36}{'seconds':>9}{'of CPU':>9}{'MiB':>8}")
    for name, run in (("first fit", first), ("second fit", second)):
        print(f"{name:36}{run.seconds:9.1f}{run.cpu_seconds:9.1f}{run.mebibytes:8.0f}")
    print(f"{'first fit but for the features':36}{first.seconds - first.features_seconds:9.1f}")
    rate = len(paths) / first.features_seconds
    print(f"{'the pass, images/s':36}{rate:9.0f}")
    print(f"{'the runtime alone':36}{runtime:9.0f}, of which the pass has {rate / runtime:.2f}")
    both = 1 / (1 / runtime + 1 / decoding)
    print(f"{'decoding and the runtime':36}{both:9.0f}, of which the pass has {rate / both:.2f}")
    print(f"{'plain loop, ' + str(EPOCHS) + ' epochs (one measured)':36}{EPOCHS * epoch:9.1f}")
    return {
        "first": asdict(first),
        "second": asdict(second),
        "plain_loop_seconds": EPOCHS * epoch,
        "images_per_second": {"pass": rate, "runtime": runtime, "decoding": decoding},
    }


def fit(data: Path, store: WeightsStore, scratch: Path) -> Run:
    """Fit in a process of its own."""
    arguments = ["fit", "--data-dir", data, "--mode", registry.EMBEDDED, "--output-dir", scratch / "runs"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", FIT, *map(str, arguments), "--publish", "never", "--cache-dir", str(store.root)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = done.stdout.splitlines()
    features = next(line for line in lines if line.startswith("features "))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, cpu, int(lines[-1]) / 1024, float(features.split(" in ")[1].split(" s")[0]))


def bare_pass(paths: list[Path], backbone: Backbone, store: WeightsStore) -> tuple[float, float]:
    """Images per second of the runtime on what is decoded, and of decoding in as many threads as there are cores."""
    some = paths[:: max(1, len(paths) // MEASURED)][:MEASURED]
    extractor = open_extractor([backbone], store)

    def read(path: Path) -> Crop:
        with path.open("rb") as file:
            return decode(file, extractor.transforms)[0]

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(read, some))  # the files are in memory then
        started = time.perf_counter()
        crops = list(pool.map(read, some))
        decoding = len(some) / (time.perf_counter() - started)
    extractor.features([np.stack(crops[:BATCH])])
    started = time.perf_counter()
    for start in range(0, len(crops), BATCH):
        extractor.features([np.stack(crops[start : start + BATCH])])
    return len(some) / (time.perf_counter() - started), decoding


def plain_epoch(paths: list[Path], backbone: Backbone) -> float:
    """Seconds that one epoch of the plain loop takes for all images."""
    import torch

    torch.set_num_threads(cores())
    some = paths[:: max(1, len(paths) // MEASURED)][:MEASURED]
    names = sorted({path.parent.name for path in paths})
    module, head = backbone.module(), torch.nn.Linear(backbone.width, len(names))
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in (backbone.transform.mean, backbone.transform.std))

    def read(path: Path) -> torch.Tensor:
        with path.open("rb") as file:
            crop = decode(file, [backbone.transform], reduce=False)[0]
        return (torch.from_numpy(crop).permute(2, 0, 1) / 255 - mean) / std

    started = time.perf_counter()
    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(some), BATCH):
            batch = some[start : start + BATCH]
            with torch.inference_mode():
                features = module(torch.stack(list(pool.map(read, batch))))
            labels = torch.tensor([names.index(path.parent.name) for path in batch])
            loss = torch.nn.functional.cross_entropy(head(features.clone()), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return (time.perf_counter() - started) / len(some) * len(paths)


def memory(count: int, store: WeightsStore, scratch: Path) -> Run:
    """A first fit on that many pictures of 32x32: those of cifar10_jpeg, again and again with noise of their own."""
    data = scratch / f"cifar-{count}"
    sources = sorted((SHARED_DATA / "cifar10_jpeg").rglob("*.jpg"))
    random = np.random.default_rng(count)
    for number in range(count):
        source = sources[number % len(sources)]
        pixels = np.asarray(Image.open(source).convert("RGB"), np.int16)
        noisy = (pixels + random.integers(-9, 10, pixels.shape)).clip(0, 255).astype(np.uint8)
        target = data / source.parent.name / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        Image.fromarray(noisy).save(buffer, "JPEG", quality=95)
        target.write_bytes(buffer.getvalue())
    run = fit(data, store, scratch)
    features = count * 1280 * 4 / 2**20
    print(
        f"{count:6} pictures: {run.mebibytes:.0f} MiB at most, {features:.0f} of them the features; {run.seconds:.0f} s"
    )
    return run


if __name__ == "__main__":
    main()
