"""Export a backbone's graph: ``python -m models.inference.export NAME SOURCE DIGEST TARGET [TUNED]``, run as a child.

The graph takes uint8 crops (n, side, side, 3), normalises them and outputs float32 features (n, width). It is compared
with torch on photographs and generated pictures before it is stored in the cache.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models import registry
from models.decoding.images import decode
from models.errors import UserError, WeightsUnavailable
from models.files.atomic import move_into_cache
from models.inference.engines import OnnxEngine, uint8_module
from models.inference.samples import enlarge, sample_pictures
from models.registry import Backbone
from models.text.language import tr
from models.weights.store import WeightsStore

#: The least cosine between the features of the graph and of torch, for every image.
AGREEMENT = 0.9999
OPSET = 17


def export(backbone: Backbone, target: Path) -> None:
    """Export the graph of ``backbone`` to ``target``, atomically.

    Raises `WeightsUnavailable` if it disagrees with torch.
    """
    import torch

    module = uint8_module(backbone)
    crops = check_crops(backbone)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            # The tracing exporter is deprecated in favour of one that takes seven times as long for the same graph;
            # torch is pinned, so it remains available.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (torch.from_numpy(crops[:2]),),
                partial,
                input_names=["crops"],
                output_names=["features"],
                dynamic_axes={"crops": {0: "n"}, "features": {0: "n"}},
                opset_version=OPSET,
                dynamo=False,
            )
            expected = module(torch.from_numpy(crops)).numpy()
        check_graph(backbone, partial, crops, expected)
        move_into_cache(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def check_graph(
    backbone: Backbone, graph: Path, crops: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32]
) -> None:
    """Raise `WeightsUnavailable` if a graph computes other features (n, width) of the crops than expected."""
    actual = OnnxEngine(graph, threads=1).features(crops)
    if actual.shape != (len(crops), backbone.width):
        raise WeightsUnavailable(
            tr(
                "{name} gives features {shape}, not {wanted}",
                name=backbone.name,
                shape=actual.shape,
                wanted=(len(crops), backbone.width),
            )
        )
    product = np.sum(actual * expected, axis=1)
    cosine = product / (np.linalg.norm(actual, axis=1) * np.linalg.norm(expected, axis=1))
    worst = float(np.min(np.nan_to_num(cosine, nan=-1.0)))
    if worst < AGREEMENT:
        raise WeightsUnavailable(
            tr("the graph of {name} disagrees with torch: cosine {worst:.6f}", name=backbone.name, worst=worst)
        )


def check_crops(backbone: Backbone) -> npt.NDArray[np.uint8]:
    """Make crops (n, side, side, 3) to compare on: scikit-learn's two sample photographs and generated pictures."""
    crops = list(enlarge(sample_pictures(), backbone.transform.crop))
    sklearn = importlib.util.find_spec("sklearn")
    for folder in (sklearn.submodule_search_locations or []) if sklearn else []:
        for photograph in sorted((Path(folder) / "datasets" / "images").glob("*.jpg")):
            with photograph.open("rb") as file:
                crops += decode(file, [backbone.transform])
    return np.stack(crops)


def main(name: str, source: str, digest: str, target: str, tuned: str | None = None) -> None:
    """Export in this process, the child of one that has located the weights."""
    from dataclasses import replace

    # The parent has located the weights, so they are on this machine.
    backbone = registry.locate(name, source, WeightsStore(Path(target).parents[1], offline=True))
    if tuned is not None:
        backbone = replace(backbone, digest=digest, tuned=Path(tuned))
    elif backbone.digest != digest:
        raise WeightsUnavailable(
            tr(
                "{source} is not what it was: sha256 {digest}, expected {wanted}",
                source=source,
                digest=backbone.digest[:12],
                wanted=digest[:12],
            )
        )
    export(backbone, Path(target))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(UserError.exit_code)
