"""Padding that is worked out once gives what timm's gives, in torch and in a graph."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from models.compat import import_torchvision

import_torchvision()

from timm.layers import Conv2dSame  # noqa: E402 - timm needs torchvision

from models.inference.padding import FixedSame, fix_padding  # noqa: E402

SIDES = (31, 32, 33)


class Small(nn.Module):
    """Convolutions of every kind that such models have, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv2dSame(3, 8, 3, stride=2)
        self.plain = nn.Conv2d(8, 8, 3, padding=1)
        self.blocks = nn.Sequential(
            Conv2dSame(8, 8, 5, stride=2, groups=8, bias=False), Conv2dSame(8, 4, (3, 5), stride=(1, 2), dilation=2)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.blocks(self.plain(self.stem(images)))
        return result


@pytest.mark.parametrize("side", SIDES)
def test_the_result_stays_the_same(side: int) -> None:
    torch.manual_seed(side)
    module, images = Small().eval(), torch.randn(2, 3, side, side)
    expected = module(images)
    names = list(module.state_dict())

    fix_padding(module, side)

    assert isinstance(module.stem, FixedSame)
    assert list(module.state_dict()) == names
    assert torch.equal(module(images), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the exporter calls itself deprecated
@pytest.mark.parametrize("side", SIDES)
def test_a_graph_pads_within_its_convolutions(tmp_path: Path, side: int) -> None:
    import onnxruntime

    torch.manual_seed(side)
    module, images = Small().eval(), torch.randn(2, 3, side, side)
    fix_padding(module, side)
    path = tmp_path / "graph.onnx"

    with torch.inference_mode():
        torch.onnx.export(module, (images,), path, input_names=["images"], opset_version=17, dynamo=False)
        expected = module(images).numpy()

    assert {node.op_type for node in onnx.load(path).graph.node} == {"Conv"}
    (got,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
        None, {"images": images.numpy()}
    )
    assert got == pytest.approx(expected, abs=1e-5)


def test_it_learns_as_before() -> None:
    torch.manual_seed(1)
    module, images = Small(), torch.randn(2, 3, 32, 32)
    module(images).square().sum().backward()
    expected = {name: parameter.grad for name, parameter in module.named_parameters()}
    module.zero_grad()

    fix_padding(module, 32)
    module(images).square().sum().backward()

    assert {name: parameter.grad for name, parameter in module.named_parameters()}.keys() == expected.keys()
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter.grad, expected[name]), name  # type: ignore[arg-type]


def test_other_modules_stay_as_they_are() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))

    fix_padding(module, 32)

    assert type(module[0]) is nn.Conv2d
