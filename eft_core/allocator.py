"""The C library's memory of this process, kept in few pieces.

glibc gives threads heaps of their own, sixteen on two cores, and each keeps what its threads freed: a server whose
calls run in two hundred threads seems to grow for hours. Loads no torch.
"""

import ctypes
import platform

# mallopt(3), <malloc.h>
_ARENAS, _MAP_FROM, _TRIM_FROM = -8, -3, -1


def one_heap() -> bool:
    """From now on all threads share one heap, which keeps blocks of up to 32 MB when they are freed. Whether that could
    be said: other C libraries than glibc have no such heaps."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(name, value) for name, value in ((_ARENAS, 1), (_MAP_FROM, 32 << 20), (_TRIM_FROM, 128 << 20)))


def give_back() -> bool:
    """Hand to the system what was freed. Takes some milliseconds: for when nothing else is to be done. Whether that
    could be said."""
    return platform.libc_ver()[0] == "glibc" and ctypes.CDLL(None).malloc_trim(0) >= 0
