"""Engines that run one backbone: its exported graph in ONNX Runtime, or its module in torch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from models.decoding.images import Transform
from models.errors import BackboneError, UserError, WeightsUnavailable
from models.inference.devices import Device
from models.registry import Backbone
from models.text.language import tr

if TYPE_CHECKING:
    import torch

Crops = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]


class Engine(Protocol):
    """One backbone, ready to run. ``name`` is that of the library that runs it, and its precision or device."""

    name: str

    def features(self, crops: Crops) -> Features:
        """Compute features (n, width) of crops (n, side, side, 3)."""
        ...


#: Images per batch of one core. CPU time for an image in batches of 1, 2 and 4, measured on a busy machine:
#: MobileNetV3-Large 4.6, 4.8, 4.1 ms; EfficientNet-Lite0 6.4, 6.0, 6.5 ms, in 118, 139, 182 MB; CLIP ViT-B/32 68, 54,
#: 50 ms (8: 49).
#: Weights larger than a processor's cache are read from memory once per batch, so they get larger batches.
_BATCH, _BATCH_OF_LARGE = 2, 4
_LARGE_BYTES = 64 << 20


class OnnxEngine:
    """One exported graph in ONNX Runtime on the CPU: several cores run small batches in parallel, one core each.

    The session keeps its memory (ONNX Runtime's arena): allocating it at every run took a quarter of the time of
    EfficientNet-Lite0 while images were sorted, and saved no memory.

    Several threads on one image would wait for each other by spinning. Measured on two cores with other work, as while
    images are decoded: MobileNetV3-Large took 7.4 ms of CPU time per image with such threads and 3.7 ms without, CLIP
    ViT-B/32 77 and 46 ms.
    """

    def __init__(self, graph: Path, threads: int, name: str = "onnxruntime") -> None:
        """``threads`` is the number of cores to use."""
        self.name = name
        self.threads = threads
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="features")
        self._batch = _BATCH_OF_LARGE if graph.stat().st_size > _LARGE_BYTES else _BATCH

    def features(self, crops: Crops) -> Features:
        """Compute features (n, width) of crops (n, side, side, 3)."""
        batches = [crops[start : start + self._batch] for start in range(0, len(crops), self._batch)]
        if len(batches) <= 1:
            return self._run(crops)
        return np.concatenate(list(self._pool.map(self._run, batches)))

    def _run(self, crops: Crops) -> Features:
        features: Features = self._session.run(["features"], {"crops": crops})[0]
        return features


class TorchEngine:
    """One backbone in torch: on a GPU in half precision, or on the CPU if it cannot be exported."""

    def __init__(self, backbone: Backbone, threads: int, device: Device = "cpu") -> None:
        import torch

        torch.set_num_threads(threads)
        self.name = "torch" if device == "cpu" else f"torch {device}"
        self._torch = torch
        self._device = torch.device(device)
        self._module = uint8_module(backbone).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, crops: Crops) -> Features:
        """Compute features (n, width) of crops (n, side, side, 3)."""
        torch = self._torch
        half = self._device.type == "cuda"
        with torch.inference_mode(), torch.autocast(self._device.type, torch.float16, enabled=half):
            features: Features = self._module(torch.from_numpy(crops).to(self._device)).float().cpu().numpy()
        return features


def uint8_module(backbone: Backbone) -> torch.nn.Module:
    """Build the module of a backbone for uint8 crops (n, side, side, 3), with its fine-tuned weights if any."""
    import torch

    try:
        module = backbone.module()
    except UserError:
        raise
    except Exception as error:  # a plug-in may raise anything
        raise BackboneError(
            tr(
                "the backbone {name} cannot be made: {kind}: {error}",
                name=backbone.name,
                kind=type(error).__name__,
                error=error,
            )
        ) from error
    if backbone.tuned is not None:
        from safetensors.torch import load_file

        try:
            module.load_state_dict(load_file(backbone.tuned))
        except RuntimeError as error:
            raise WeightsUnavailable(tr("the fine-tuned weights do not fit {name}", name=backbone.name)) from error

    class FromCrops(torch.nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self, module: torch.nn.Module, transform: Transform) -> None:
            # Parameters, not a closure: the class is freed only when cycles are collected, with all it refers to.
            super().__init__()
            self.module = module
            self.register_buffer("mean", torch.tensor(transform.mean).view(1, 3, 1, 1) * 255)
            self.register_buffer("std", torch.tensor(transform.std).view(1, 3, 1, 1) * 255)

        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            images = crops.permute(0, 3, 1, 2).to(torch.float32)
            features: torch.Tensor = self.module((images - self.mean) / self.std)
            return features

    return FromCrops(module, backbone.transform).eval()
