"""The software a checkpoint was made with."""

from __future__ import annotations

import importlib.metadata
import platform

_PACKAGES = ("imagesortd", "numpy", "onnxruntime", "pillow", "scikit-learn", "torch")


def versions() -> dict[str, str]:
    """Python's and the packages' versions by name."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # run from a clone that was not installed
            continue
    return found
