"""The versions of the software that makes a checkpoint."""

from __future__ import annotations

import importlib.metadata
import platform

_PACKAGES = ("imagesortd", "numpy", "onnxruntime", "pillow", "scikit-learn", "torch")


def versions() -> dict[str, str]:
    """Return the versions of Python and of packages by name."""
    versions_by_name = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions_by_name[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # run from a clone that was not installed
            continue
    return versions_by_name
