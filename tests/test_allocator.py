"""All threads share one heap, as the C library itself tells."""

import platform
import subprocess
import sys

import psutil
import pytest

from eft_core.allocator import give_back

TOLD = """
import ctypes, sys, threading
from eft_core.allocator import one_heap
if sys.argv[1] == "one":
    assert one_heap()
ready = threading.Barrier(9)
def work():
    kept = [bytearray(3000) for _ in range(200)]
    ready.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
ready.wait()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such heaps")
def test_threads_share_one_heap_and_would_not_otherwise() -> None:
    def heaps(how: str) -> int:
        told = subprocess.run([sys.executable, "-c", TOLD, how], capture_output=True, text=True, check=True)
        return told.stdout.count("<heap nr=")

    assert heaps("one") == 1
    assert heaps("many") > 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library is not asked")
def test_what_was_freed_goes_back_though_something_behind_it_is_kept() -> None:
    held = [bytearray(60_000) for _ in range(4000)]  # blocks of the heap, which ends where the last one does
    kept = held[-1]
    del held
    before = psutil.Process().memory_info().rss
    assert give_back()
    assert before - psutil.Process().memory_info().rss > 100e6
    assert len(kept) == 60_000
