"""Convert a known pickle of weights to safetensors: ``python -m models.weights.convert PICKLE SHA256 TARGET``.

It runs as a child process, so that a service that converts weights at its first start does not import torch. The pickle
is read once, so that exactly the bytes whose digest was checked are opened, with ``weights_only=True`` (torch >= 2.10
for CVE-2025-32434 and CVE-2026-24747).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from pathlib import Path

from models.errors import UserError, WeightsUnavailable
from models.files.atomic import move_into_cache
from models.text.language import tr


def convert(pickle: Path, sha256_prefix: str, target: Path) -> None:
    """Write the tensors of ``pickle`` to ``target``, with their order and the original digest in its metadata.

    Raises `WeightsUnavailable` if the file has another digest, or holds anything but tensors.
    """
    data = pickle.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if not digest.startswith(sha256_prefix):
        raise WeightsUnavailable(
            tr(
                "{pickle} is not opened: it is truncated or is not the published file (its sha256 begins {digest}, "
                "not {sha256_prefix}); delete it, and it is fetched or installed again",
                pickle=pickle,
                digest=digest[:8],
                sha256_prefix=sha256_prefix[:8],
            )
        )

    import torch
    from safetensors.torch import save

    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        tensors = {str(name): tensor.contiguous() for name, tensor in state.items()}
        converted = save(tensors, {"sha256": digest, "order": json.dumps(list(tensors))})
    except Exception as error:  # the errors of an unpickler have no common base class
        raise WeightsUnavailable(
            tr("{pickle} holds more than tensors and is not used: give another file", pickle=pickle)
        ) from error
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_bytes(converted)
        move_into_cache(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _main(pickle: str, sha256_prefix: str, target: str) -> int:
    try:
        convert(Path(pickle), sha256_prefix, Path(target))
    except OSError as error:
        print(
            tr(
                "{pickle} cannot be converted to {target}: {reason}",
                pickle=pickle,
                target=target,
                reason=error.strerror,
            ),
            file=sys.stderr,
        )
    except UserError as error:
        print(error, file=sys.stderr)
    else:
        return 0
    return UserError.exit_code


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
