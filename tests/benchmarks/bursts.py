"""What deciding bursts together brings and costs: ``python -m tests.benchmarks.bursts [SET ...] [--json FILE]``.

Of each set some images of one fold are made into bursts of six: each a little shifted, enlarged, brighter or darker,
and noisy. A head is chosen on the other folds as ``fit`` does. Prints for each backbone

- how much alike an image of a burst is to the likest one before it, and how much alike random images of one class are:
  the shares of both that `LEAST_ALIKE` takes for a burst;

and then, for the embedded backbone,

- the share of wrong images by themselves and in bursts as the daemon makes them; and where two strangers of different
  classes were photographed by the same camera in the same seconds;
- what an image costs more: reading who took it when, and finding its burst.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from daemon.files.roots import Roots
from daemon.files.taken import Shot
from daemon.filing.bursts import LEAST_ALIKE, Bursts, Member, shot_of
from models import registry
from models.classifier import Seen
from models.decoding.images import decode
from models.inference.runtime import FeatureExtractor, open_extractor
from models.scoring import Probabilities, mean_by_logits
from models.weights.store import WeightsStore
from tests.benchmarks.chosen_heads import chosen_head, score_images
from tests.benchmarks.labelled_sets import FOLDER, as_it_is
from tests.conftest import SHARED_DATA

SETS = ("hymenoptera2", "intel_scenes6")
SIZE, MOST_BURSTS, UNSEEN = 6, 150, 4
BACKBONES = (registry.EMBEDDED, "efficientnet_lite2")
TRIES = 200
_NOON = datetime(2026, 5, 1, 12)

Floats = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="SET", help=", ".join(SETS))
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if not SHARED_DATA.is_dir():
        print("skipped: the labelled pictures that this takes are not here")
        return
    store = WeightsStore(FOLDER / "weights")
    extractors = {name: open_extractor([registry.locate(name, None, store)], store) for name in BACKBONES}
    figures: dict[str, Any] = {}
    for name in options.names or SETS:
        labels, features = made_bursts(name, extractors)
        for backbone in BACKBONES:
            figures[f"{name}, {backbone}"] = alike(f"{name}, {backbone}", labels, features[backbone])
        figures[name] = wrong(name, labels, features[registry.EMBEDDED])
    figures["cost"] = cost()
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def made_bursts(name: str, extractors: dict[str, FeatureExtractor]) -> tuple[npt.NDArray[np.str_], dict[str, Floats]]:
    """The classes (n,) of some unseen images of a set, and the features (n, SIZE, width) of the bursts made of them."""
    random = np.random.default_rng(0)
    with (SHARED_DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["fold"]) == UNSEEN]
    rows = [rows[at] for at in random.permutation(len(rows))[:MOST_BURSTS]]
    features: dict[str, list[Floats]] = {backbone: [] for backbone in extractors}
    for row in rows:
        with Image.open(SHARED_DATA / name / row["file"]) as image:
            files = [changed(image.convert("RGB"), random) for _ in range(SIZE)]
        for backbone, extractor in extractors.items():
            crops = [decode(io.BytesIO(data), extractor.transforms)[0] for data in files]
            features[backbone].append(extractor.features([np.stack(crops)]))
    return np.array([row["cls"] for row in rows]), {key: np.stack(bursts) for key, bursts in features.items()}


def changed(image: Image.Image, random: np.random.Generator) -> bytes:
    """The same picture as a JPEG: shifted by up to 4 %, enlarged by up to 10, brighter or darker by up to 20, noisy."""
    width, height = image.size
    part = random.uniform(0.9, 1)
    left, top = (1 - part) / 2 + random.uniform(-0.04, 0.04, 2)
    box = [*np.clip([left, top], 0, 1 - part)]
    extent = (box[0] * width, box[1] * height, (box[0] + part) * width, (box[1] + part) * height)
    image = image.transform(image.size, Image.Transform.EXTENT, extent, Image.Resampling.BICUBIC)
    image = ImageEnhance.Brightness(image).enhance(random.uniform(0.8, 1.2))
    noisy = np.asarray(image, np.float32) + random.normal(0, random.uniform(2, 10), (height, width, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def alike(what: str, labels: npt.NDArray[np.str_], features: Floats) -> dict[str, float]:
    """How alike images are, within bursts and beyond, and the shares of both at or above `LEAST_ALIKE`."""
    units = features / np.linalg.norm(features, axis=-1, keepdims=True)
    within = np.einsum("nif,njf->nij", units, units)
    likest = np.array([burst[at, :at].max() for burst in within for at in range(1, SIZE)])
    first = units[:, 0]
    pairs = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    strangers = (first @ first.T)[pairs]
    figures = {
        "burst, 5 %": float(np.quantile(likest, 0.05)),
        "burst, median": float(np.median(likest)),
        "strangers, median": float(np.median(strangers)),
        "strangers, 99.9 %": float(np.quantile(strangers, 0.999)),
        "bursts joined": float((likest >= LEAST_ALIKE).mean()),
        "strangers joined": float((strangers >= LEAST_ALIKE).mean()),
    }
    print(f"{what}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()))
    return figures


def wrong(name: str, labels: npt.NDArray[np.str_], features: Floats) -> dict[str, float]:
    """The shares of wrong images, by themselves and in bursts."""
    data = as_it_is(name)
    choice = chosen_head(data.part(data.folds != UNSEEN))
    truth = np.array([data.classes.index(label) for label in labels])
    flat, _ = score_images(choice, features.reshape(-1, features.shape[-1]))
    probabilities = flat.reshape(*features.shape[:2], -1)
    units = features / np.linalg.norm(features, axis=-1, keepdims=True)
    single = probabilities.argmax(axis=-1)
    figures = {"by themselves": float((single != truth[:, None]).mean())}
    bursts = [[(at, number) for number in range(SIZE)] for at in range(len(truth))]
    strangers = [
        [image for both in zip(one, two, strict=True) for image in both]
        for one, two in zip(bursts[::2], bursts[1::2], strict=False)
        if labels[one[0][0]] != labels[two[0][0]]
    ]
    for what, shot_together in (("in bursts", bursts), ("strangers in the same seconds", strangers)):
        right: Counter[bool] = Counter()
        alone: Counter[bool] = Counter()
        for images in shot_together:
            for image, decided in decided_as_daemon(images, probabilities, units):
                right[decided == truth[image[0]]] += 1
                alone[bool(single[image] == truth[image[0]])] += 1
        figures[what] = right[False] / right.total()
        figures[f"{what}, by themselves"] = alone[False] / alone.total()
    print(f"{name}, wrong: " + ", ".join(f"{key} {value:.2%}" for key, value in figures.items()))
    return figures


def decided_as_daemon(
    images: list[tuple[int, int]], probabilities: Probabilities, units: Floats
) -> list[tuple[tuple[int, int], int]]:
    """The class of each image, by the bursts that the daemon makes of these, all taken in the same seconds."""
    waiting = Bursts[tuple[int, int]](10)
    for image in images:
        waiting.add(Member(image, Shot("", _NOON), Seen(probabilities[image], 0.0, units[image]), None))
    decided = []
    for burst in waiting.take_ready(len(images), clocked=False, is_idle=True, is_last=True):
        label = int(mean_by_logits(np.stack([seen.probabilities for seen in burst.distinct()])).argmax())
        decided += [(member.image, label) for member in burst.members]
    return decided


def cost() -> dict[str, float]:
    """Milliseconds for each image: reading its data, and finding its burst among 64 images that wait."""
    random = np.random.default_rng(0)
    units = random.normal(size=(TRIES, 2560)).astype(np.float32)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    even = np.full(30, 1 / 30, np.float32)
    waiting = Bursts[int](10)
    for number in range(64):
        shot = Shot("", _NOON + timedelta(seconds=number))
        waiting.add(Member(number, shot, Seen(even, 0.0, units[number]), None))
    members = [
        Member(number, Shot("", _NOON + timedelta(seconds=30)), Seen(even, 0.0, unit), None)
        for number, unit in enumerate(units)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jpg"
        data = Image.Exif()
        inside = data.get_ifd(0x8769)
        inside[0x9003] = "2026:05:01 12:00:00"
        data[0x8769] = inside
        Image.fromarray(random.integers(0, 255, (1500, 2000, 3), np.uint8)).save(path, exif=data)
        figures = {
            "reading (ms)": _milliseconds(lambda _: shot_of(path, Roots([folder]))),
            "joining (ms)": _milliseconds(lambda at: waiting.add(members[at])),
        }
    print(", ".join(f"{key} {value:.3f}" for key, value in figures.items()))
    return figures


def _milliseconds(do: Callable[[int], object]) -> float:
    taken = []
    for at in range(TRIES):
        start = time.perf_counter()
        do(at)
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


if __name__ == "__main__":
    main()
