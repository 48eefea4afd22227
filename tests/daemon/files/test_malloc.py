"""What the C library keeps of memory that is free again."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from tests.processes import environment

#: Prints what the C library has to tell of its heaps, once some threads have had memory of it at one time.
HEAPS = """
import ctypes, threading
from daemon.files.malloc import keep_little
{first}
together = threading.Barrier(6)
def work():
    together.wait()
    held = [bytes(50_000) for _ in range(20)]
    together.wait()
threads = [threading.Thread(target=work) for _ in range(6)]
[each.start() for each in threads]
[each.join() for each in threads]
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


def test_threads_share_few_heaps() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_info"):
        pytest.skip("this C library is not glibc")

    def heaps(first: str) -> int:
        command = [sys.executable, "-c", HEAPS.format(first=first)]
        told = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout
        return told.count("<heap nr=")

    assert heaps("") > 2
    assert heaps("keep_little()") == 2


#: Prints the page faults of taking 6 MB in pieces and giving them back, ten times, and once more after ``last``.
FAULTS = """
import resource
from daemon.files.malloc import give_back, keep_plenty
{first}
def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        [bytearray(60_000) for _ in range(100)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(1)
print(faults(10))
{last}
print(faults(1))
"""


def test_memory_is_kept_for_the_next_image_until_it_is_given_back() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("this C library is not glibc")

    def faults(first: str, last: str = "") -> list[int]:
        command = [sys.executable, "-c", FAULTS.format(first=first, last=last)]
        told = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout
        return [int(line) for line in told.split()]

    pages = 6_000_000 // os.sysconf("SC_PAGE_SIZE")
    assert faults("")[0] > 9 * pages
    assert max(faults("keep_plenty()")) < pages / 2
    assert faults("keep_plenty()", "give_back()")[1] > pages / 2
