"""What the daemon and the trainer share: decoding, the backbone registry, weights, runtime and checkpoints.

Nothing in here reads settings or knows of inboxes and class folders.
"""

from __future__ import annotations

import os

# ONNX Runtime would make up an identity for this machine, and send its maker what it is used for.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# NumPy's matrix products here are small, and its threads wait for each other by spinning: with two busy cores the head
# of a batch of 8 images takes 27 ms with two threads, 0.2 ms with one. It is read when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
