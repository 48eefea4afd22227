"""The usual script: what most image sorters do, with a checkpoint of ours, so that both give the same answers.

``python -m tests.benchmarks.usual --input-dir IN --output-dir OUT --checkpoint C [--loader]``: opens every image at
its full size, resizes it, runs torch, and copies the file into the folder of its class. One image at a time, or with
``--loader`` as the more careful ones do it: a DataLoader with two workers, batches of 32, channels_last. Prints the
labels by file name, as JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import torch
from PIL import Image

from models import registry
from models.checkpoints import checkpoint as checkpoints
from models.compat import import_torchvision
from models.decoding.images import Transform
from models.scoring import head_probabilities
from models.weights.store import WeightsStore

BATCH, WORKERS = 32, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--input-dir", "--output-dir", "--checkpoint", "--cache-dir"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--loader", action="store_true")
    options = parser.parse_args()
    checkpoint = checkpoints.load(options.checkpoint)
    store = WeightsStore(options.cache_dir)
    records = checkpoint.metadata.parts
    backbones = [registry.locate(record.name, record.source, store) for record in records]
    assert [backbone.digest for backbone in backbones] == [record.digest for record in records]
    modules = [backbone.module() for backbone in backbones]
    files = sorted(options.input_dir.iterdir())
    pictures = Pictures(files, [record.as_transform() for record in records])
    if options.loader:
        modules = [module.to(memory_format=torch.channels_last) for module in modules]  # type: ignore[call-overload]
    labels = {}
    at = 0
    for batch in _batches(pictures, loader=options.loader):
        with torch.inference_mode():
            features = [module(images).numpy() for module, images in zip(modules, batch, strict=True)]
        rows = head_probabilities(checkpoint.metadata, checkpoint.head, np.concatenate(features, axis=1))
        for row in rows:
            label = checkpoint.metadata.classes[int(row.argmax())]
            folder = options.output_dir / label
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(files[at], folder / files[at].name)
            labels[files[at].name] = label
            at += 1
    print(json.dumps(labels))


class Pictures(torch.utils.data.Dataset[list[torch.Tensor]]):
    """Each file as one normalised image (3, side, side) for each backbone."""

    def __init__(self, files: list[Path], shapes: list[Transform]) -> None:
        pillow_heif.register_heif_opener()
        transforms = import_torchvision().transforms
        self.files = files
        self.steps: list[Any] = [
            transforms.Compose(
                [
                    transforms.Resize(shape.resize, transforms.InterpolationMode(shape.interpolation)),
                    transforms.CenterCrop(shape.crop),
                    transforms.ToTensor(),
                    transforms.Normalize(shape.mean, shape.std),
                ]
            )
            for shape in shapes
        ]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        with Image.open(self.files[index]) as image:
            picture = image.convert("RGB")
        return [step(picture) for step in self.steps]


def _batches(pictures: Pictures, *, loader: bool) -> Iterator[list[torch.Tensor]]:
    if loader:
        for batch in torch.utils.data.DataLoader(pictures, batch_size=BATCH, num_workers=WORKERS):
            yield [images.to(memory_format=torch.channels_last) for images in batch]
    else:
        for index in range(len(pictures)):
            yield [image.unsqueeze(0) for image in pictures[index]]


if __name__ == "__main__":
    main()
