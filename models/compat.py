"""Import torchvision, and packages that depend on it, with a CPU build of torch.

PyPI's torchvision is a CUDA build. With a torch without CUDA its compiled operators do not load, and its import fails
with "operator torchvision::nms does not exist", and so do timm and transformers' image classes. The import only needs
the schemas of two operators for object detection, which are never called here.
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
    patch_torchvision()
    return import_module(_NAME)


@cache
def patch_torchvision() -> None:
    """Make every later ``import torchvision`` in this process work, also those of plug-ins. Imports nothing."""
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds torchvision, and replaces its loader by one that declares missing operators."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of torchvision; None for everything else."""
        if fullname != _NAME:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader)
        return spec


class _PatchingLoader(Loader):
    """Runs a module's own loader, and runs it again with the operators declared if it fails for want of them."""

    def __init__(self, own: Loader) -> None:
        self._original = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module with its own loader."""
        return self._original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self._original  # others ask it for files beside the module
        try:
            self._original.exec_module(module)
        except RuntimeError as error:
            if f"{_NAME}::" not in str(error):
                raise
            for name in [name for name in sys.modules if name.startswith(f"{_NAME}.")]:
                del sys.modules[name]
            _declare_operators()
            self._original.exec_module(module)


def _declare_operators() -> None:
    import torch

    library = torch.library.Library(_NAME, "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _keep_alive.append(library)  # the schemas are removed with the object that declared them


_keep_alive: list[object] = []
