"""Import torchvision, and what stands on it, beside a CPU build of torch.

PyPI's torchvision is a CUDA build. Beside a torch without CUDA its compiled operators do not load, and its import ends
in "operator torchvision::nms does not exist", which takes timm and transformers' image classes down with it. Only the
schema of two operators is missed at import; none of them is ever called here (both belong to object detection).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_NAME = "torchvision"
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_torchvision() -> ModuleType:
    """Import torchvision. Call it before importing timm or transformers' models."""
    mend_torchvision()
    return import_module(_NAME)


@cache
def mend_torchvision() -> None:
    """Have every ``import torchvision`` in this process work from now on, also that of a plug-in. Imports nothing."""
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds torchvision where it is, and has its import mended."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of torchvision; None for everything else."""
        if fullname != _NAME:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Mended(spec.loader)
        return spec


class _Mended(Loader):
    """Runs a module's own loader, and once more with the operators declared if these were what it missed."""

    def __init__(self, own: Loader) -> None:
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """What its own loader makes."""
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self._own  # of which others may ask for the files beside it
        try:
            self._own.exec_module(module)
        except RuntimeError as error:
            if f"{_NAME}::" not in str(error):
                raise
            for name in [name for name in sys.modules if name.startswith(f"{_NAME}.")]:
                del sys.modules[name]
            _declare_operators()
            self._own.exec_module(module)


def _declare_operators() -> None:
    import torch

    library = torch.library.Library(_NAME, "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _keep_alive.append(library)  # the schemas go with the object that declared them


_keep_alive: list[object] = []
