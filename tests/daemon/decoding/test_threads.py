"""How many threads multiply matrices in the daemon, which is settled before NumPy is imported."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.processes import ROOT

CODE = """
import daemon.__main__
import numpy
import threadpoolctl
print(*{library["num_threads"] for library in threadpoolctl.threadpool_info()})
"""


def test_numpy_multiplies_in_one_thread() -> None:
    unset = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=unset, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]
