"""What computes, as a user names it. It is known without what computes, which takes long to load."""

from __future__ import annotations

from typing import Literal

Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "int8"]
