"""Out of memory, told from other errors: torch says it in three ways."""

import torch

_SAID = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the CPU's allocator had no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and any(words in str(error).lower() for words in _SAID)


def advice() -> str:
    """What whoever asked can do, in one sentence."""
    return (
        "The memory ran out during this run, and what it held was freed: use fewer columns, smaller sizes or a shorter "
        "answer, then run again."
    )
