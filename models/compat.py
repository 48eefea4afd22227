"""Import torchvision, and what stands on it, beside a CPU build of torch.

PyPI's torchvision is a CUDA build. Beside a torch without CUDA its compiled operators do not load, and its import ends
in "operator torchvision::nms does not exist", which takes timm and transformers' image classes down with it. Only the
schema of two operators is missed at import; none of them is ever called here (both belong to object detection).
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@cache
def import_torchvision() -> ModuleType:
    """Import torchvision, declaring the missing operator schemas first where its compiled half did not load.

    Call it before importing timm or transformers' models.
    """
    import torch

    try:
        return import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _keep_alive.append(library)  # the schemas go with the object that declared them
    return import_module("torchvision")


_keep_alive: list[object] = []
