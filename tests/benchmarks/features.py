"""The feature pass: torch eager, torch channels_last and this program's runtime, side by side in one run.

``python -m tests.benchmarks.features [--json FILE]``. Weights are random but for the embedded backbone's; the
architectures are the real ones, which is what speed depends on. Rounds alternate between the three, so that a busy
machine slows all of them; medians are printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models import registry
from models.inference.engines import uint8_module
from models.inference.runtime import cores, open_extractor
from models.registry import Backbone
from models.weights.store import WeightsStore

ROUNDS = 5
BATCH = 16
ROOT = Path(__file__).resolve().parents[2]

Crops = npt.NDArray[np.uint8]


def main() -> None:
    """Print the tables, and write them as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--images", type=int, default=48, help="images in each round")
    options = parser.parse_args()
    store = WeightsStore()
    with tempfile.TemporaryDirectory() as folder:
        located = [
            registry.locate("mobilenet", str(random_mobilenet(Path(folder))), store),
            registry.locate(registry.EMBEDDED, None, store),
            registry.locate("clip", str(random_clip(Path(folder))), store),
        ]
        rates = {backbone.name: feature_pass(backbone, store, options.images) for backbone in located}
    print(f"images/s, median of {ROUNDS} rounds of {options.images} images, {cores()} cores")
    print(f"{'backbone':20}{'torch eager':>14}{'channels_last':>15}{'ours':>9}{'ours / eager':>14}")
    for name, row in rates.items():
        ratio = row["ours"] / row["torch eager"]
        print(f"{name:20}{row['torch eager']:14.1f}{row['channels_last']:15.1f}{row['ours']:9.1f}{ratio:14.2f}")
    processes = {"torch": one_image(TORCH), "ours": one_image(OURS)}
    print("\na process that classifies one image with the embedded model (median of 5)")
    for name, (seconds, mebibytes) in processes.items():
        print(f"{name:20}{seconds:8.2f} s{mebibytes:8.0f} MiB resident at most")
    if options.json:
        options.json.write_text(json.dumps({"images_per_s": rates, "one_image": processes}, indent=1))


def random_mobilenet(folder: Path) -> Path:
    """torchvision's MobileNetV3-Large with random weights."""
    from models.compat import import_torchvision

    torchvision = import_torchvision()
    import torch
    from safetensors.torch import save_file

    path = folder / "mobilenet.safetensors"
    torch.manual_seed(0)  # whoever asks for them again in the same folder gets the same
    save_file(torchvision.models.mobilenet_v3_large(weights=None).state_dict(), path)
    return path


def random_clip(folder: Path) -> Path:
    """A CLIP of the size of ViT-B/32 with random weights, in the hub's layout."""
    from models.compat import import_torchvision

    import_torchvision()
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    path = folder / "clip"
    torch.manual_seed(0)
    CLIPModel(CLIPConfig()).save_pretrained(path)
    CLIPImageProcessor().save_pretrained(path)
    return path


def feature_pass(backbone: Backbone, store: WeightsStore, images: int) -> dict[str, float]:
    """Images per second of the three, by name."""
    import torch

    torch.set_num_threads(cores())
    side = backbone.transform.crop
    crops = np.random.default_rng(0).integers(0, 256, (images, side, side, 3), dtype=np.uint8)
    eager = uint8_module(backbone)
    last = uint8_module(backbone).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ours = open_extractor([backbone], store)

    def run_torch(module: torch.nn.Module, layout: torch.memory_format) -> Callable[[Crops], object]:
        def run(batch: Crops) -> object:
            with torch.inference_mode():
                # As torch's own transforms lay images out, and as they are asked to lie for channels_last.
                images = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous(memory_format=layout)
                return module(images.permute(0, 2, 3, 1))

        return run

    contenders = {
        "torch eager": (run_torch(eager, torch.contiguous_format), BATCH),
        "channels_last": (run_torch(last, torch.channels_last), BATCH),
        "ours": (lambda batch: ours.features([batch]), BATCH),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS + 1):
        for name, (run, size) in contenders.items():
            started = time.perf_counter()
            for start in range(0, images, size):
                run(crops[start : start + size])
            seconds[name].append(time.perf_counter() - started)
    return {name: images / statistics.median(taken[1:]) for name, taken in seconds.items()}  # the first warms up


TORCH = """
import importlib.util, torch
from pathlib import Path
from models.compat import import_torchvision
torchvision = import_torchvision()
import timm
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor
import models.registry as registry
from models.weights.store import WeightsStore
folder = Path(importlib.util.find_spec("sklearn").submodule_search_locations[0])
photograph = folder / "datasets" / "images" / "flower.jpg"
module = registry.locate(registry.EMBEDDED, None, WeightsStore()).module()
crop = [Resize(256, InterpolationMode.BICUBIC), CenterCrop(224)]
transform = Compose([*crop, ToTensor(), Normalize([0.5] * 3, [0.5] * 3)])
with torch.inference_mode():
    module(transform(Image.open(photograph).convert("RGB")).unsqueeze(0))
"""
OURS = """
import importlib.util
from pathlib import Path
import numpy as np
from models.classifier import open_classifier
from models.decoding.images import decode
from models.starter import starter_path
from models.weights.store import WeightsStore
store = WeightsStore()
classifier = open_classifier(starter_path(store, "en"), store)
folder = Path(importlib.util.find_spec("sklearn").submodule_search_locations[0])
with open(folder / "datasets" / "images" / "flower.jpg", "rb") as file:
    crops = decode(file, classifier.transforms)
classifier.predict([crop[None] for crop in crops])
"""


def one_image(code: str) -> tuple[float, float]:
    """Wall-clock seconds and the highest resident memory in MiB of a process that runs the code, warm caches."""
    runs = [_run(code) for _ in range(6)][1:]
    return statistics.median(seconds for seconds, _ in runs), statistics.median(memory for _, memory in runs)


#: ``ru_maxrss`` of a child begins at what its parent held when it was forked, so the child reads its own.
PRINT_PEAK = """
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def _run(code: str) -> tuple[float, float]:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code + PRINT_PEAK], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - started, int(done.stdout.split()[-1]) / 1024


if __name__ == "__main__":
    main()
