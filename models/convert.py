"""Turn a known pickle of weights into safetensors: ``python -m models.convert PICKLE SHA256 TARGET``.

Run as a child process, so that a service that converts at its first start does not import torch. The pickle is read
once; the digest is of the very bytes that are then opened, with ``weights_only=True`` (torch >= 2.10 for
CVE-2025-32434 and CVE-2026-24747).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from pathlib import Path


def convert(pickle: Path, sha256_prefix: str, target: Path) -> None:
    """Write the tensors of ``pickle`` to ``target``, keeping their order and the original digest in the metadata.

    Raises `ValueError` when the file is not the one expected.
    """
    data = pickle.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if not digest.startswith(sha256_prefix):
        raise ValueError(f"{pickle} is damaged: its sha256 begins {digest[:16]}, not {sha256_prefix[:16]}")

    import torch
    from safetensors.torch import save

    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    metadata = {"sha256": digest, "order": json.dumps(list(tensors))}
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with partial.open("xb") as file:
            file.write(save(tensors, metadata))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        convert(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
