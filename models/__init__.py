"""What the daemon and the trainer share: decoding, the backbone registry, weights, runtime and checkpoints.

Nothing in here reads settings or knows of inboxes and class folders.
"""

from __future__ import annotations

import os

# ONNX Runtime would make up an identity for this machine, and send its maker what it is used for.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
