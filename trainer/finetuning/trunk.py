"""Run the frozen lower part of a backbone in ONNX Runtime during fine-tuning, as in serving.

Measured with EfficientNet-Lite0, whose upper half is trained: an image costs 20 ms of processor time in training
instead of 36, and 12 instead of 33 in checking. Where the cut fails, the whole backbone runs in torch.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from loguru import logger
from torch import fx

from models.inference.export import OPSET

#: How far the features of the cut backbone may differ from those of the whole, relative to the largest.
_TOLERANCE = 1e-3

#: Operators with the batch size: the exporter keeps it variable only in methods, and else makes it a constant.
_METHODS: dict[Any, str] = {
    torch.ops.aten.sym_size.int: "size",
    torch.ops.aten.expand.default: "expand",
    torch.ops.aten.view.default: "view",
    torch.ops.aten.reshape.default: "reshape",
}


class Cut(torch.nn.Module):
    """A backbone in two halves, from uint8 crops to features: ``trunk`` in ONNX Runtime, and above it torch.

    The parameters of the upper half are those of the backbone it was cut from.
    """

    def __init__(self, trunk: Any, upper: torch.nn.Module) -> None:
        super().__init__()
        self._trunk = trunk
        self.upper = upper

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        outputs = self._trunk.run(None, {"crops": crops.numpy()})
        features: torch.Tensor = self.upper(*map(torch.from_numpy, outputs))
        return features


def cut(module: torch.nn.Module, crops: npt.NDArray[np.uint8], threads: int) -> Cut | None:
    """Cut a backbone (`uint8_module`) below the first parameter that is trained; None where that fails.

    ``crops`` (n, side, side, 3), at least two, are used to compare the result with the whole backbone. The lower half
    runs on so many ``threads``.
    """
    inputs = torch.from_numpy(crops)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lower, upper = _split(module, inputs)
            halves = Cut(_session(lower, inputs, threads), upper)
        with torch.inference_mode():
            for batch in (inputs, inputs[:1]):
                expected = module(batch)
                if not torch.allclose(halves(batch), expected, rtol=0, atol=_TOLERANCE * float(expected.abs().max())):
                    raise ValueError("both halves together give other features")
    except Exception as error:  # exporters may raise anything, and the whole backbone in torch always works
        logger.debug("the lower part runs in torch, slower: {}: {}", type(error).__name__, error)
        return None
    return halves


def _split(module: torch.nn.Module, crops: torch.Tensor) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Split into the half without trained parameters and the rest, which takes the outputs of the former."""
    whole: Any = torch.export.export(module, (crops,), dynamic_shapes=({0: torch.export.Dim("n")},)).module()
    nodes = [node for node in whole.graph.nodes if not (node.op == "call_module" and node.target == "_guards_fn")]
    (result,) = next(node for node in nodes if node.op == "output").args[0]
    trained = _trained_nodes(whole, nodes)
    crossing = [
        node
        for node in nodes
        if node.op in {"call_function", "placeholder"}
        and node not in trained
        and not _is_number(node)
        and any(user in trained for user in node.users)
    ]

    lower = fx.Graph()
    below: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        if node in trained or node.op == "output":
            continue
        below[node] = lower.node_copy(node, below.__getitem__)
        if (method := _METHODS.get(node.target)) is not None:
            copied: Any = below[node]
            arguments = copied.args if method == "size" else (copied.args[0], *copied.args[1])
            copied.op, copied.target, copied.args = "call_method", method, arguments
    lower.output(tuple(below[node] for node in crossing))
    lower.eliminate_dead_code()

    upper = fx.Graph()
    above = {node: upper.placeholder(node.name) for node in crossing}
    batch = next(above[node] for node in crossing if isinstance(node.meta["val"].shape[0], torch.SymInt))
    for node in nodes:
        if node.op == "get_attr" or node in trained:
            above[node] = upper.node_copy(node, above.__getitem__)
        elif _is_number(node):  # the batch size, or computed from it: taken from the inputs again
            if node.target is torch.ops.aten.sym_size.int and node.args[1] == 0:
                above[node] = upper.call_function(torch.ops.aten.sym_size.int, (batch, 0))
            else:
                above[node] = upper.node_copy(node, above.__getitem__)
    upper.output(above[result])
    upper.eliminate_dead_code()
    return fx.GraphModule(whole, lower), fx.GraphModule(whole, upper)


def _is_number(node: fx.Node) -> bool:
    return node.op == "call_function" and isinstance(node.meta.get("val"), int | torch.SymInt)


def _trained_nodes(whole: torch.nn.Module, nodes: list[fx.Node]) -> set[fx.Node]:
    trained: set[fx.Node] = set()
    for node in nodes:
        if node.op == "get_attr":
            value = whole
            for step in str(node.target).split("."):
                value = getattr(value, step)
            is_trained = isinstance(value, torch.Tensor) and value.requires_grad
        else:
            is_trained = node.op != "output" and any(source in trained for source in node.all_input_nodes)
        if is_trained:
            trained.add(node)
    return trained


def _session(lower: fx.GraphModule, crops: torch.Tensor, threads: int) -> Any:
    import onnxruntime

    names = [f"out{number}" for number in range(len(lower(crops)))]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trunk.onnx"
        torch.onnx.export(
            lower,
            (crops,),
            path,
            input_names=["crops"],
            output_names=names,
            dynamic_axes={name: {0: "n"} for name in ["crops", *names]},
            opset_version=OPSET,
            dynamo=False,
        )
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
