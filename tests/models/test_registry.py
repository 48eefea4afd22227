"""The registry, and the contract that every registered backbone keeps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from models import registry
from models.decoding.images import Transform
from models.errors import BackboneError, UserError, WeightsUnavailable
from models.inference.runtime import FeatureExtractor, locate_backbones, open_extractor
from models.registry import Backbone
from models.weights.store import WeightsStore
from tests.conftest import crops

#: Fixtures with small or random weights of the real architectures, for backbones whose own must be fetched. One that
#: is registered and neither installed nor in this table fails the contract: give it small weights here.
SMALL_WEIGHTS = {
    "mobilenet": "tiny_mobilenet",
    "mobilenet_small": "tiny_mobilenet_small",
    "clip": "tiny_clip",
    "siglip": "tiny_siglip",
}


#: Exporting their graphs takes long, and differs in nothing from that of the embedded backbone.
LARGE = {"efficientnet_lite1", "efficientnet_lite2", "embedded"}
KINDS = [*registry.entries(), *registry.compositions(), "siglip"]


@pytest.fixture(params=[pytest.param(kind, marks=[pytest.mark.slow] if kind in LARGE else []) for kind in KINDS])
def kind(request: pytest.FixtureRequest) -> str:
    """Every registered backbone and composition, and SigLIP in CLIP's place."""
    return str(request.param)


@pytest.fixture
def mode(kind: str) -> str:
    return "clip" if kind == "siglip" else kind


@pytest.fixture
def sources(kind: str, mode: str, request: pytest.FixtureRequest) -> dict[str, str]:
    fixtures = SMALL_WEIGHTS | ({"clip": SMALL_WEIGHTS["siglip"]} if kind == "siglip" else {})
    parts = [part for part in registry.parts_of(mode) if part in fixtures]
    return {part: str(request.getfixturevalue(fixtures[part])) for part in parts}


@pytest.fixture
def extractor(mode: str, sources: dict[str, str], store: WeightsStore, exports_here: None) -> FeatureExtractor:
    return open_extractor(locate_backbones(mode, sources, store), store)


def test_hybrid_is_mobilenet_and_clip() -> None:
    assert registry.parts_of("hybrid") == ("mobilenet", "clip")
    assert registry.parts_of("clip+efficientnet_lite0") == ("clip", "efficientnet_lite0")


@pytest.mark.parametrize("mode", ["resnet", "", "clip+", "+", "hybrid+nothing"])
def test_an_unknown_mode_is_named_with_those_that_exist(mode: str) -> None:
    with pytest.raises(BackboneError, match="there is no backbone .* choose one of clip, efficientnet_lite0, .*hybrid"):
        registry.parts_of(mode)


def test_a_backbone_is_used_once_in_a_mode() -> None:
    with pytest.raises(BackboneError, match="twice"):
        registry.parts_of("hybrid+clip")


@pytest.fixture
def clean_registry() -> Iterator[None]:
    registry.entries()
    before = registry.snapshot()
    yield
    registry.restore(before)


def test_a_name_is_registered_once(clean_registry: None) -> None:
    entry = registry.entries()["clip"]
    with pytest.raises(BackboneError, match="two backbones are registered as 'clip'"):
        registry.register_backbone(
            "clip",
            description="another",
            transform=entry.transform,
            width=1,
            weights=entry.weights,
            licence="",
        )(entry.build)


def test_features_have_the_width_the_registry_says(mode: str, extractor: FeatureExtractor) -> None:
    batch = [crops(3, transform.crop) for transform in extractor.transforms]
    features = extractor.features(batch)
    assert features.shape == (3, extractor.width)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert extractor.engine == "onnxruntime"


def test_features_do_not_depend_on_neighbours_or_on_the_run(extractor: FeatureExtractor) -> None:
    batch = [crops(5, transform.crop) for transform in extractor.transforms]
    together = extractor.features(batch)
    alone = np.concatenate([extractor.features([each[i : i + 1] for each in batch]) for i in range(5)])
    np.testing.assert_allclose(alone, together, rtol=1e-3, atol=1e-4 * float(np.abs(together).max()))
    np.testing.assert_array_equal(extractor.features(batch), together)


def test_torch_and_the_graph_agree(extractor: FeatureExtractor) -> None:
    import torch

    from models.inference.engines import uint8_module

    batch = [crops(4, transform.crop, seed=1) for transform in extractor.transforms]
    with torch.inference_mode():
        expected = np.concatenate(
            [
                uint8_module(part)(torch.from_numpy(each)).numpy()
                for part, each in zip(extractor.parts, batch, strict=True)
            ],
            axis=1,
        )
    got = extractor.features(batch)
    cosine = (got * expected).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() >= 0.9999


def test_modules_are_in_evaluation_mode(extractor: FeatureExtractor) -> None:
    for part in extractor.parts:
        assert not any(module.training for module in part.module().modules())


def test_the_fingerprint_is_the_same_in_another_process(mode: str) -> None:
    here = {name: entry.transform.fingerprint for name, entry in registry.entries().items()}
    code = (
        "import json; from models import registry; "
        "print(json.dumps({name: entry.transform.fingerprint for name, entry in registry.entries().items()}))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(there) == here


def test_the_fingerprint_follows_every_number_of_the_transform() -> None:
    mean, std = (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)
    variants = [
        Transform(resize=256, crop=224, interpolation="bicubic", mean=mean, std=std),
        Transform(resize=232, crop=224, interpolation="bicubic", mean=mean, std=std),
        Transform(resize=256, crop=192, interpolation="bicubic", mean=mean, std=std),
        Transform(resize=256, crop=224, interpolation="bilinear", mean=mean, std=std),
        Transform(resize=256, crop=224, interpolation="bicubic", mean=std, std=std),
        Transform(resize=256, crop=224, interpolation="bicubic", mean=mean, std=mean),
    ]
    assert len({transform.fingerprint for transform in variants}) == len(variants)


@pytest.mark.parametrize("explicit", ["mobilenet", "clip", "hybrid"])
def test_an_explicit_mode_without_weights_says_what_is_missing_and_how_to_get_it(
    explicit: str, store: WeightsStore
) -> None:
    with pytest.raises(WeightsUnavailable, match="are not on this machine") as raised:
        locate_backbones(explicit, {}, store)
    assert "--weights" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("mode", ["hybrid", "clip+efficientnet_lite0+mobilenet", "auto"])
def test_every_part_that_is_missing_is_named_and_how_to_get_it(
    mode: str, store: WeightsStore, logged: list[str]
) -> None:
    said = ""
    try:
        locate_backbones(mode, {}, store)
    except WeightsUnavailable as error:
        said = str(error)
    said = said or "".join(logged)
    assert "2 parts are missing" in said
    assert "pull mobilenet" in said
    assert "pull clip" in said
    assert "\n" not in said.strip()


def test_auto_tries_a_second_backbone_where_its_package_is_installed(store: WeightsStore, logged: list[str]) -> None:
    parts = locate_backbones("auto", {}, store)
    assert [part.name for part in parts] == list(registry.parts_of("embedded"))
    (said,) = [line for line in logged if "mode auto tries embedded" in line]
    assert "python -m models pull hybrid" in said


def test_auto_says_loudly_that_it_continues_with_the_embedded_backbone(
    tmp_path: Path, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = metadata.distribution

    def without(name: str) -> metadata.Distribution:
        if "lite2" in name:
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "distribution", without)
    parts = locate_backbones("auto", {}, WeightsStore(tmp_path))
    assert [part.name for part in parts] == ["efficientnet_lite0"]
    (said,) = [line for line in logged if "mode auto uses" in line]
    assert "mobilenet" in said
    assert "python -m models pull hybrid" in said
    assert len(said) < 250, "what is wrong with each of them is for those who ask"


def test_auto_is_hybrid_where_its_weights_are_here(store: WeightsStore, tiny_mobilenet: Path, tiny_clip: Path) -> None:
    parts = locate_backbones("auto", {"mobilenet": str(tiny_mobilenet), "clip": str(tiny_clip)}, store)
    assert [part.name for part in parts] == ["mobilenet", "clip"]


def test_auto_does_not_pass_over_weights_that_were_named(store: WeightsStore, tiny_clip: Path) -> None:
    with pytest.raises(WeightsUnavailable):
        locate_backbones("auto", {"mobilenet": "missing.safetensors", "clip": str(tiny_clip)}, store)


def test_weights_for_a_part_that_the_mode_lacks_are_a_mistake(store: WeightsStore, tiny_clip: Path) -> None:
    with pytest.raises(UserError, match="given for clip, which mode efficientnet_lite0 does not use"):
        locate_backbones("efficientnet_lite0", {"clip": str(tiny_clip)}, store)


def test_listing_names_every_backbone_without_torch() -> None:
    code = (
        "import sys\nfrom models.__main__ import main\nmain(['list', '--json'])\n"
        "assert not {'torch', 'transformers', 'timm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["backbones"]}
    assert {"mobilenet", "clip", "hybrid", "efficientnet_lite0"} <= set(rows)
    assert rows["efficientnet_lite0"]["here"] is True
    assert rows["clip"]["here"] is False
    assert rows["hybrid"]["parts"] == ["mobilenet", "clip"]


def test_a_backbone_that_does_not_export_runs_in_torch(
    store: WeightsStore, clean_registry: None, logged: list[str]
) -> None:
    import torch

    class Means(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

    transform = Transform(resize=8, crop=8, interpolation="bilinear", mean=(0.0,) * 3, std=(1.0,) * 3)
    backbone = Backbone(name="only_here", source="", digest="d", transform=transform, width=3, module=Means)
    extractor = open_extractor([backbone], store)
    assert extractor.engine == "torch"
    batch = crops(2, 8)
    np.testing.assert_allclose(extractor.features([batch]), batch.mean(axis=(1, 2)) / 255, rtol=1e-5)
    assert any("only_here runs in torch" in line for line in logged)


def test_a_clip_model_that_lacks_weights_is_refused(tiny_clip: Path, tmp_path: Path, store: WeightsStore) -> None:
    from safetensors.numpy import load_file, save_file

    folder = Path(shutil.copytree(tiny_clip, tmp_path / "clip"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    backbone = registry.locate("clip", str(folder), store)
    with pytest.raises(WeightsUnavailable, match=r"lack 1 tensors .* visual_projection\.weight"):
        backbone.module()
