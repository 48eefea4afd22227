"""torchvision and timm are imported without torch's compiler, which is there for whoever wants it."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
from models.compat import import_torchvision
torchvision = import_torchvision()
import timm, torch
assert torchvision.__spec__.loader is torchvision.__loader__
assert callable(torchvision.models.mobilenet_v3_small)
module = timm.create_model("tf_efficientnet_lite0").eval()
with torch.inference_mode():
    assert module(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
assert "torch._dynamo" not in sys.modules, "the compiler was imported"
assert torch.compiler.disable.__module__ == "torch.compiler"
"""
COMPILING = """
from torchvision.ops import roi_align
assert vars(sys.modules[roi_align.__module__])["is_compile_supported"]("cpu") in (True, False)
import torch._dynamo.utils
assert torch._dynamo.utils.__file__ and torch._dynamo.__file__
assert torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(1)) == 1
from timm.models.naflexvit import NaFlexRopeIterator
assert NaFlexRopeIterator.__next__.__name__ == "__next__"
"""


def test_no_compiler_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_compiler_is_imported_by_who_calls_it() -> None:
    done = subprocess.run([sys.executable, "-c", CODE + COMPILING], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
