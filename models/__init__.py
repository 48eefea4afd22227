"""What the daemon and the trainer share: decoding, the backbone registry, weights, runtime and checkpoints.

Nothing in here reads settings or knows of inboxes and class folders.
"""

from __future__ import annotations

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib takes a while to import

# As in the other packages: what lies in the folder that the user is in must not be taken for a library.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and sys.path[0] != _ROOT:
    del sys.path[0]

# ONNX Runtime would make up an identity for this machine, and send its maker what it is used for.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# NumPy's matrix products here are small, and its threads wait for each other by spinning: with two busy cores the head
# of a batch of 8 images takes 27 ms with two threads, 0.2 ms with one. It is read when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
