"""Quantise a float graph to int8: ``python -m models.inference.quantize GRAPH TARGET``, run as a child process.

Quantisation is dynamic: the constant factor of every matrix product is stored as int8 with one scale per column, the
other factor is scaled at run time. Transformers consist of such products; convolutional networks have hardly any.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from models.errors import UserError, WeightsUnavailable
from models.files.atomic import move_into_cache
from models.text.language import tr


def quantize(graph: Path, target: Path) -> None:
    """Write the int8 graph, atomically. Raises `WeightsUnavailable` when there is no matrix product to quantise."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    content = onnx.load(graph)
    constants = {tensor.name for tensor in content.graph.initializer}
    if not any(node.op_type == "MatMul" and constants & set(node.input) for node in content.graph.node):
        raise WeightsUnavailable(tr("it has no matrix products to store as int8"))
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        quantize_dynamic(graph, partial, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
        move_into_cache(partial, target)
    finally:
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        quantize(Path(sys.argv[1]), Path(sys.argv[2]))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
