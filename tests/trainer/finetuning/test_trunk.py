from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from models import registry
from models.inference.engines import uint8_module
from models.weights.store import WeightsStore
from tests.conftest import crops
from trainer.finetuning.trunk import cut


def learn_from(module: torch.nn.Module, stage: str) -> None:
    """Freeze every parameter before the first whose name holds ``stage``."""
    learns = False
    for name, parameter in module.named_parameters():
        learns = learns or stage in name
        parameter.requires_grad_(learns)
    assert learns


@pytest.mark.parametrize(
    ("name", "weights", "stage"),
    [
        ("clip", "tiny_clip", "layers.1."),
        ("clip", "tiny_siglip", "layers.1."),
        pytest.param("mobilenet", "tiny_mobilenet", "features.12.", marks=pytest.mark.slow),
    ],
)
def test_both_halves_are_the_whole_and_the_upper_one_learns(
    name: str, weights: str, stage: str, store: WeightsStore, request: pytest.FixtureRequest
) -> None:
    backbone = registry.locate(name, str(request.getfixturevalue(weights)), store)
    module = uint8_module(backbone)
    learn_from(module, stage)
    side = backbone.transform.crop
    halves = cut(module, crops(2, side), 1)
    assert halves is not None
    some = torch.from_numpy(crops(3, side, seed=1))
    whole, both = module(some), halves(some)
    same = torch.isclose(both.detach(), whole.detach(), rtol=0, atol=1e-3 * float(whole.detach().abs().max()))
    assert same.all()

    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    expected = torch.autograd.grad(whole.square().sum(), learning)
    both.square().sum().backward()
    for parameter, gradient in zip(learning, expected, strict=True):
        assert parameter.grad is not None
        difference = (parameter.grad - gradient).abs().max()
        assert float(difference) <= 1e-2 * float(gradient.abs().max()) + 1e-6
    with torch.no_grad():
        learning[-1].add_(1.0)
    assert not np.allclose(halves(some).detach().numpy(), both.detach().numpy())


def test_a_module_that_cannot_be_cut_is_left_whole(logged: list[str]) -> None:
    class Moody(torch.nn.Module):
        """Decides by what it sees, which no exporter follows."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)

        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            mean = crops.float().mean(dim=(1, 2))
            result: torch.Tensor = self.layer(mean if float(mean.sum()) > 0 else -mean)
            return result

    assert cut(Moody().eval(), crops(2, 8), 1) is None
    assert any("the lower part runs in torch" in line for line in logged)


def test_halves_that_disagree_are_not_used(
    tiny_clip: Path, store: WeightsStore, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    module = uint8_module(registry.locate("clip", str(tiny_clip), store))
    learn_from(module, "layers.1.")
    session = onnxruntime.InferenceSession

    class Wrong:
        def __init__(self, right: object) -> None:
            self._right = right

        def run(self, *arguments: object) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
            return [-output for output in self._right.run(*arguments)]  # type: ignore[attr-defined]

    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *arguments, **more: Wrong(session(*arguments, **more)))
    assert cut(module, crops(2, 64), 1) is None
    assert any("give other features" in line for line in logged)
