"""The header of a safetensors file: which tensors it holds, checked against the file itself before anything is loaded.

(https://huggingface.co/docs/safetensors: 8 bytes of length, then JSON, then the numbers, without holes.) Also what lies
in a file's place where it is not what its name says. No torch.
"""

import json
import math
from pathlib import Path
from typing import Any

_LONGEST = 100_000_000  # bytes of a header, safetensors' own limit
_MOST_AXES = 16  # a product of more numbers than any tensor has could take forever
_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
_CONSENT = (b"<!doctype", b"<html", b"access to model", b"invalid username", b"entry not found", b'{"error"')
_PICKLE = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def tensors(file: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors file, from its header. ValueError with the remedy if it is damaged, cut short,
    or something else than its name says."""
    size, length, header = _header(file)
    shapes, places = dict[str, tuple[int, ...]](), list[tuple[int, int]]()
    try:
        for name, tensor in header.items():
            if name != "__metadata__":
                shape, begin, end = _tensor(file, name, tensor)
                shapes[name] = shape
                places.append((begin, end))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise error if isinstance(error, Damaged) else Damaged(file, "its header is not of the format") from error
    reached = 0
    for begin, end in sorted(places):
        if begin != reached:
            raise Damaged(file, f"bytes {min(begin, reached):,} to {max(begin, reached):,} are of no tensor or of two")
        reached = end
    if 8 + length + reached != size:
        raise Damaged(file, f"it has {size:,} bytes and its header says {8 + length + reached:,}")
    return shapes


def stand_in(file: Path) -> str:
    """What lies in a file's place that should hold weights or JSON, with the remedy; "" if it is none of what one
    meets there: a pointer, the page of a website that refused, a pickle."""
    with file.open("rb") as opened:
        head = opened.read(64)
    if head.startswith(b"version https://git-lfs"):
        return (
            f"{file} is a pointer of Git LFS and not the file itself: run `git lfs pull` in its folder, or get the "
            "checkpoint with `hf download`."
        )
    if head.lstrip().lower().startswith(_CONSENT):
        return (
            f"{file} is what a website answered that refused a download: accept the terms on the model's page if it "
            "has any, set HF_TOKEN, and download it again."
        )
    if head.startswith(_PICKLE):
        return (
            f"{file} is a pickle under another name, which can run code and is not read: do not use it, or convert "
            "the original to safetensors where you trust it."
        )
    return ""


class Damaged(ValueError):
    """A file that is not whole, and what shows it."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file} is damaged or was not downloaded to its end ({reason}): download it again.")


def _header(file: Path) -> tuple[int, int, Any]:
    """Bytes of the file and of its header, and the header."""
    try:
        size = file.stat().st_size
        with file.open("rb") as weights:
            length = int.from_bytes(weights.read(8), "little")
            if length > min(size - 8, _LONGEST):
                told = stand_in(file)
                raise ValueError(told) if told else Damaged(file, "its header is longer than the file")
            text = weights.read(length)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}.") from error
    try:
        return size, length, json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Damaged(file, "its header is no JSON") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which nothing is said twice: two readers could take different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _tensor(file: Path, name: str, tensor: Any) -> tuple[tuple[int, ...], int, int]:
    """Shape, first byte and end of a tensor."""
    shape, (begin, end) = tuple(tensor["shape"]), tensor["data_offsets"]
    numbers = (*shape, begin, end)
    if len(shape) > _MOST_AXES or not all(type(each) is int and 0 <= each < 1 << 63 for each in numbers):
        raise Damaged(file, f"{name!r:.60} has an impossible place or shape")
    if tensor["dtype"] not in _BITS:
        raise Damaged(file, f"{name!r:.60} is of the unknown number format {tensor['dtype']!r:.20}")
    if math.prod(shape) * _BITS[tensor["dtype"]] != (end - begin) * 8:
        raise Damaged(file, f"{name!r:.60} has another shape than its bytes")
    return shape, begin, end
