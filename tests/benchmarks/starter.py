"""How well the starter model sorts real photographs: ``python -m tests.benchmarks.starter [--json FILE]``.

Prints, for each set of pictures beside the project, the accuracy of the groups, how far their probabilities can be
taken at their word at several temperatures, and what a threshold files and gets right. The sets are not ImageNet's:
forests, streets and modern buildings have no class of their own, some pictures show something else than their label
says, and CIFAR-10's are 32 px wide.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models import registry
from models.decoding.images import decode
from models.groups import starter_groups
from models.inference.runtime import open_extractor
from models.starter import TEMPERATURE, THRESHOLD
from models.weights.store import WeightsStore
from tests.conftest import SHARED_DATA

Floats = npt.NDArray[np.float64]

#: The groups where a picture of that label may rightly be.
RIGHT = {
    "hymenoptera2": {"ants": "insect", "bees": "insect"},
    "intel_scenes6": {
        "buildings": "building street_shop",
        "street": "building street_shop car truck_bus bicycle_motorcycle train",
        "forest": "landscape flower_plant",
        "glacier": "landscape",
        "mountain": "landscape",
        "sea": "landscape",
    },
    "cifar10_jpeg": {
        "airplane": "aircraft", "automobile": "car", "bird": "bird", "cat": "cat", "deer": "wild_animal", "dog": "dog",
        "frog": "reptile_amphibian", "horse": "farm_animal", "ship": "boat", "truck": "truck_bus",
    },
}  # fmt: skip
#: Measured at their own size; the temperature is for such pictures. CIFAR-10 says what happens to thumbnails.
PHOTOGRAPHS = ("hymenoptera2", "intel_scenes6")
TEMPERATURES = (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 1.0, 1.2)
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if not SHARED_DATA.is_dir():
        print(f"There is nothing to measure: the shared pictures are not in {SHARED_DATA}.")
        return
    measured = {name: measure(name) for name in RIGHT}
    logits, right = (np.concatenate(both) for both in zip(*(measured[name] for name in PHOTOGRAPHS), strict=True))
    measured[" + ".join(PHOTOGRAPHS)] = logits, right
    figures = {name: report(name, some, their_right) for name, (some, their_right) in measured.items()}
    print(f"The starter ships with temperature {TEMPERATURE} and threshold {THRESHOLD}.")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def measure(name: str) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """A set's ImageNet logits (n, 1000), and the groups (n, groups) that are right for each picture."""
    names, _ = starter_groups("en")
    store = WeightsStore()
    backbone = registry.locate(registry.EMBEDDED, None, store)
    assert backbone.imagenet_head is not None
    weight, bias = backbone.imagenet_head()
    extractor = open_extractor([backbone], store)
    with (SHARED_DATA / f"{name}.csv").open(newline="", encoding="utf-8") as opened:
        rows = [row for row in csv.DictReader(opened) if name in PHOTOGRAPHS or row["fold"] == "0"]
    logits = []
    for start in range(0, len(rows), BATCH):
        crops = [crop(SHARED_DATA / name / row["file"], backbone) for row in rows[start : start + BATCH]]
        logits.append(extractor.features([np.stack(crops)]) @ weight.T + bias)
    right = [[group in RIGHT[name][row["cls"]].split() for group in names] for row in rows]
    return np.concatenate(logits).astype(np.float64), np.array(right)


def crop(path: Path, backbone: registry.Backbone) -> npt.NDArray[np.uint8]:
    with path.open("rb") as file:
        return decode(file, [backbone.transform])[0]


def report(name: str, logits: Floats, right: npt.NDArray[np.bool_]) -> list[dict[str, object]]:
    """Print the table of a set, and return its rows."""
    shares = "".join(f"{f'at {threshold}':>14}" for threshold in THRESHOLDS)
    print(f"{name}, {len(logits)} pictures; at a threshold: share filed, and right of those")
    print(f"{'temperature':>11}{'right':>7}{'log loss':>10}{'ECE':>7}{shares}")
    rows: list[dict[str, object]] = []
    for temperature in TEMPERATURES:
        probabilities = grouped(logits, temperature)
        confidence = probabilities.max(axis=1)
        hit = right[np.arange(len(right)), probabilities.argmax(axis=1)]
        loss = -np.log((probabilities * right).sum(axis=1)).mean()
        error = calibration_error(confidence, hit)
        filed = {threshold: share(confidence, hit, threshold) for threshold in THRESHOLDS}
        told = "".join(f"{some:.0%} {good:.1%}".rjust(14) for some, good in filed.values())
        print(f"{temperature:>11}{hit.mean():>7.3f}{loss:>10.3f}{error:>7.3f}{told}")
        rows.append(
            {
                "temperature": temperature,
                "right": float(hit.mean()),
                "log_loss": float(loss),
                "calibration_error": error,
                "filed_and_right": {str(threshold): both for threshold, both in filed.items()},
            }
        )
    print()
    return rows


def grouped(logits: Floats, temperature: float) -> Floats:
    """Group probabilities (n, groups) of class logits (n, 1000)."""
    names, groups = starter_groups("en")
    exponentials = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return np.asarray(probabilities @ np.eye(len(names))[groups])


def share(confidence: Floats, hit: npt.NDArray[np.bool_], threshold: float) -> tuple[float, float]:
    """The share that a threshold files, and the share of those that is right; 1 of none."""
    filed = confidence >= threshold
    return float(filed.mean()), float(hit[filed].mean()) if filed.any() else 1.0


def calibration_error(confidence: Floats, hit: npt.NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error: how far confidence is from the share of hits, over bins of equal width."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    inside = [which == index for index in range(bins)]
    return float(sum(abs((confidence - hit)[some].mean()) * some.mean() for some in inside if some.any()))


if __name__ == "__main__":
    main()
