"""Compute TensorFlow's "same" padding once for images of one size, not in the graph at every run.

timm's ports of TensorFlow's models compute it from the size of their input. Exported, that becomes arithmetic on shapes
and padding separate from its convolution, for which ONNX Runtime converts the layout of the images twice.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn import functional


class FixedSame(nn.Module):
    """A convolution whose input is padded by ``pads`` zeros: left, right, top, bottom."""

    def __init__(self, conv: nn.Conv2d, pads: list[int]) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.pads, self.stride, self.dilation, self.groups = pads, conv.stride, conv.dilation, conv.groups

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, channels, height, width) in and out."""
        if torch.onnx.is_in_onnx_export():
            return _Exported.apply(images, self.weight, self.bias, self)  # type: ignore[no-any-return, no-untyped-call]
        return _convolve(images, self.weight, self.bias, self)


def _convolve(images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, conv: FixedSame) -> torch.Tensor:
    padded = functional.pad(images, conv.pads)
    return functional.conv2d(padded, weight, bias, stride=conv.stride, dilation=conv.dilation, groups=conv.groups)


class _Exported(torch.autograd.Function):
    """Exports a convolution as one ``Conv``, which can pad each side differently in ONNX, though not in torch."""

    @staticmethod
    def forward(_: Any, *inputs: Any) -> torch.Tensor:
        return _convolve(*inputs)

    @staticmethod
    def symbolic(graph: Any, images: Any, weight: Any, bias: Any, conv: FixedSame) -> Any:
        left, right, top, bottom = conv.pads
        return graph.op(
            "Conv",
            images,
            weight,
            *([] if bias is None else [bias]),
            pads_i=[top, left, bottom, right],
            strides_i=list(conv.stride),
            dilations_i=list(conv.dilation),
            group_i=conv.groups,
        )


def fix_padding(module: nn.Module, side: int) -> None:
    """Fix the padding of the convolutions of a module for images (n, 3, side, side).

    The names of its parameters stay. A module without such convolutions is not changed.
    """
    sizes: dict[str, torch.Size] = {}
    convs = {name: conv for name, conv in module.named_modules() if isinstance(conv, Conv2dSame)}
    if not convs:
        return
    hooks = [conv.register_forward_pre_hook(partial(_record_size, sizes, name)) for name, conv in convs.items()]
    with torch.inference_mode():
        module(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    for name, size in sizes.items():
        parent, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(parent), attribute, FixedSame(convs[name], same_pads(convs[name], size)))


def _record_size(sizes: dict[str, torch.Size], name: str, _: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    sizes[name] = inputs[0].shape[-2:]


def same_pads(conv: nn.Conv2d, size: torch.Size) -> list[int]:
    """Return the padding left, right, top and bottom for images of this height and width; if odd, the end gets more.

    https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
    """
    pads: list[int] = []
    for length, kernel, stride, dilation in zip(size, conv.kernel_size, conv.stride, conv.dilation, strict=True):
        steps = -(-length // stride)
        total = max((steps - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
        pads = [total // 2, total - total // 2, *pads]  # torch wants the last axis first
    return pads
