"""Any timm model as a backbone, from a local file, a folder, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models import registry
from models.errors import BackboneError, WeightsUnavailable
from models.inference.runtime import locate_backbones, open_extractor
from models.weights.store import WeightsStore
from tests.conftest import crops

NAME = "timm/test_efficientnet.r160_in1k"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small timm model with random weights, as the hub lays it out."""
    from models.compat import import_torchvision

    import_torchvision()
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("timm")
    save_file(timm.create_model("test_efficientnet", pretrained=False).state_dict(), made / "model.safetensors")
    (made / "config.json").write_text(json.dumps({"architecture": "test_efficientnet"}))
    return made


@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_timm_model_is_a_backbone_like_any_other(
    folder: Path, store: WeightsStore, given: str, exports_here: None
) -> None:
    source = folder if given == "folder" else folder / "model.safetensors"
    (backbone,) = locate_backbones(NAME, {NAME: str(source)}, store)
    assert backbone.transform.crop == 160
    assert backbone.name == NAME
    extractor = open_extractor([backbone], store)
    assert extractor.engine == "onnxruntime"
    features = extractor.features([crops(3, 160)])
    assert features.shape == (3, backbone.width)
    assert np.isfinite(features).all()


def test_a_timm_model_joins_others(folder: Path, store: WeightsStore) -> None:
    parts = locate_backbones(f"efficientnet_lite0+{NAME}", {NAME: str(folder)}, store)
    assert [part.name for part in parts] == ["efficientnet_lite0", NAME]


def test_a_name_timm_does_not_know_is_said(store: WeightsStore) -> None:
    with pytest.raises((BackboneError, WeightsUnavailable), match="timm has no model 'no_such_net'"):
        locate_backbones("timm/no_such_net", {}, store)


def test_weights_that_are_nowhere_are_named(store: WeightsStore) -> None:
    with pytest.raises(WeightsUnavailable, match="--weights timm/test_efficientnet"):
        locate_backbones(NAME, {}, store)


def test_weights_of_another_model_are_refused(store: WeightsStore, tiny_mobilenet: Path) -> None:
    (backbone,) = locate_backbones(NAME, {NAME: str(tiny_mobilenet)}, store)
    with pytest.raises(WeightsUnavailable, match="does not hold timm's test_efficientnet"):
        backbone.module()


def test_a_pickle_is_never_opened(store: WeightsStore, tmp_path: Path) -> None:
    pickle = tmp_path / "model.pth"
    pickle.write_bytes(b"\x80\x04.")
    with pytest.raises(WeightsUnavailable, match="is not a .safetensors file"):
        locate_backbones(NAME, {NAME: str(pickle)}, store)


def test_the_family_is_listed() -> None:
    assert "timm/" in registry.families()
