"""What runs one backbone: an exported graph in ONNX Runtime, or its module in torch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from models.errors import BackboneError, UserError, WeightsUnavailable
from models.images import Transform
from models.registry import Backbone
from models.text.language import tr

if TYPE_CHECKING:
    import torch

Device = Literal["cpu", "cuda"]
Crops = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]


class Engine(Protocol):
    """One backbone, ready to run. ``name`` says what computes."""

    name: str

    def features(self, crops: Crops) -> Features:
        """Features (n, width) of crops (n, side, side, 3)."""
        ...


#: Images that one core takes at once. Measured on a busy machine, CPU time for an image at 1, 2, 4: MobileNetV3-Large
#: 4.6, 4.8, 4.1 ms; EfficientNet-Lite0 6.4, 6.0, 6.5 ms, in 118, 139, 182 MB; CLIP ViT-B/32 68, 54, 50 ms (8: 49).
#: Weights of more bytes than a processor keeps at hand come from memory once for each piece: the larger, the fewer.
_PIECE, _PIECE_OF_LARGE = 2, 4
_LARGE = 64 << 20


class OnnxEngine:
    """One exported graph in ONNX Runtime on the CPU: images go side by side, each of them through one core.

    The session keeps its memory (ONNX Runtime's arena): asking the system for it at every run took a quarter of the
    time of EfficientNet-Lite0 while images were sorted, and no less of it.

    Several threads on one image wait for each other, and do it by spinning. Measured on two cores that had other work
    too, as they have while images are decoded: MobileNetV3-Large took 7.4 ms of CPU time for an image in that manner
    and 3.7 ms in this, CLIP ViT-B/32 77 and 46 ms.
    """

    def __init__(self, graph: Path, threads: int, name: str = "onnxruntime") -> None:
        """``threads`` is how many cores it may use."""
        self.name = name
        self.threads = threads
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="features")
        self._piece = _PIECE_OF_LARGE if graph.stat().st_size > _LARGE else _PIECE

    def features(self, crops: Crops) -> Features:
        """Features (n, width) of crops (n, side, side, 3)."""
        pieces = [crops[start : start + self._piece] for start in range(0, len(crops), self._piece)]
        if len(pieces) <= 1:
            return self._run(crops)
        return np.concatenate(list(self._pool.map(self._run, pieces)))

    def _run(self, crops: Crops) -> Features:
        features: Features = self._session.run(["features"], {"crops": crops})[0]
        return features


class TorchEngine:
    """One backbone in torch: on a GPU in half precision, or on the CPU where it does not export."""

    def __init__(self, backbone: Backbone, threads: int, device: Device = "cpu") -> None:
        import torch

        torch.set_num_threads(threads)
        self.name = "torch" if device == "cpu" else f"torch {device}"
        self._torch = torch
        self._device = torch.device(device)
        self._module = uint8_module(backbone).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, crops: Crops) -> Features:
        """Features (n, width) of crops (n, side, side, 3)."""
        torch = self._torch
        half = self._device.type == "cuda"
        with torch.inference_mode(), torch.autocast(self._device.type, torch.float16, enabled=half):
            features: Features = self._module(torch.from_numpy(crops).to(self._device)).float().cpu().numpy()
        return features


def uint8_module(backbone: Backbone) -> torch.nn.Module:
    """The backbone as a module that takes uint8 crops (n, side, side, 3), its fine-tuned weights loaded if any."""
    import torch

    try:
        module = backbone.module()
    except UserError:
        raise
    except Exception as error:  # it may be that of a plug-in, which is somebody else's code
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
            # Given, not taken from around: a class lives until cycles are collected, and all that it refers to.
            super().__init__()
            self.module = module
            self.register_buffer("mean", torch.tensor(transform.mean).view(1, 3, 1, 1) * 255)
            self.register_buffer("std", torch.tensor(transform.std).view(1, 3, 1, 1) * 255)

        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            images = crops.permute(0, 3, 1, 2).to(torch.float32)
            features: torch.Tensor = self.module((images - self.mean) / self.std)
            return features

    return FromCrops(module, backbone.transform).eval()
