"""The devices and precisions that a user may choose: names alone, since torch and ONNX Runtime take long to load."""

from __future__ import annotations

from typing import Literal

Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "int8"]
