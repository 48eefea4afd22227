"""Import torchvision, and packages that depend on it, with a CPU build of torch, and without torch's compiler.

PyPI's torchvision is a CUDA build. With a torch without CUDA its compiled operators do not load, and its import fails
with "operator torchvision::nms does not exist", and so do timm and transformers' image classes. The import only needs
the schemas of two operators for object detection, which are never called here.

Both torchvision and timm import torch's compiler (``torch._dynamo``) for functions that are never called here. That
takes two seconds of a processor, as much as torch itself, in each process. They get it when they first call it instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_NAME = "torchvision"
_COMPILER = "torch._dynamo"
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
    """Finds the modules that are imported in a way of our own, and replaces their loaders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of such a module; None for everything else."""
        if fullname not in _WAYS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader, _WAYS[fullname])
        return spec


class _PatchingLoader(Loader):
    """Runs a module in a way of our own with its own loader."""

    def __init__(self, own: Loader, way: Callable[[Callable[[], None]], None]) -> None:
        self._original = own
        self._way = way

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module with its own loader."""
        return self._original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self._original  # others ask it for files beside the module
        self._way(lambda: self._original.exec_module(module))


def _with_operators(run: Callable[[], None]) -> None:
    """Run torchvision, and run it again with the operators declared if it fails because they are missing."""
    try:
        run()
    except RuntimeError as error:
        if f"{_NAME}::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.startswith(f"{_NAME}.")]:
            del sys.modules[name]
        _declare_operators()
        run()


def _declare_operators() -> None:
    import torch

    library = torch.library.Library(_NAME, "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _keep_alive.append(library)  # the schemas are removed with the object that declared them


_keep_alive: list[object] = []


def _with_a_placeholder(run: Callable[[], None]) -> None:
    """Run a module that wants one function of the compiler, with one in its place that asks the compiler when called.

    Whoever imports the compiler afterwards, gets it.
    """

    def is_compile_supported(device_type: str) -> bool:
        return bool(import_module(f"{_COMPILER}.utils").is_compile_supported(device_type))

    if _COMPILER in sys.modules:
        run()
        return
    utils = ModuleType(f"{_COMPILER}.utils")
    vars(utils)["is_compile_supported"] = is_compile_supported
    placeholders = {_COMPILER: ModuleType(_COMPILER), utils.__name__: utils}
    sys.modules.update(placeholders)
    try:
        run()
    finally:
        for name in placeholders:
            del sys.modules[name]


def _with_compiler_disabled_later(run: Callable[[], None]) -> None:
    """Run timm, whose functions that are not to be compiled get torch's own decorator for that: it waits for a call."""
    import torch

    def disable(fn: Any = None, recursive: Any = True, *, reason: Any = None) -> Any:  # noqa: ARG001
        return torch._compile._disable_dynamo(fn, recursive)

    original = torch.compiler.disable
    torch.compiler.disable = disable
    try:
        run()
    finally:
        torch.compiler.disable = original


#: The modules that are imported in a way of our own.
_WAYS: dict[str, Callable[[Callable[[], None]], None]] = {
    _NAME: _with_operators,
    f"{_NAME}.ops.roi_align": _with_a_placeholder,
    "timm": _with_compiler_disabled_later,
}
