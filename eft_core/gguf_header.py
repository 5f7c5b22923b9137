"""The header of a GGUF file: what it says of its model, and the shapes of its tensors. No torch.

Every count in it is checked against the bytes that there are, so no number in a file makes reading it long or large;
the library's reader follows counts wherever they lead. (ggml's docs/gguf.md, versions 2 and 3.)
"""

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eft_core.headers import Damaged, stand_in

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_MOST = 2_000_000  # elements of all arrays, or tensors: ten times what the largest vocabulary needs
_MOST_AXES = 4  # ggml's


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """`values` are numbers, flags and texts by key; of an array there is its length alone, in `lengths`. `shapes` are
    those of the tensors, the fastest axis first."""

    values: Mapping[str, Any]
    lengths: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]


def gguf_header(file: Path) -> GgufHeader:
    """Read the header. ValueError with the remedy if the file is damaged, cut short, or no GGUF file."""
    try:
        from gguf.constants import GGML_QUANT_SIZES
    except ImportError as error:
        raise ValueError(f"{file.name} is GGUF, which needs a package: pip install gguf.") from error
    check_magic(file)
    sizes = {int(kind): (numbers, count) for kind, (numbers, count) in GGML_QUANT_SIZES.items()}
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _read(_Cursor(data, 4), sizes)
        except (_Odd, struct.error, UnicodeDecodeError) as error:
            raise Damaged(file, str(error)) from error


def check_magic(file: Path) -> None:
    """ValueError with the remedy for a file that does not even begin as GGUF does."""
    try:
        with file.open("rb") as opened:
            begins = opened.read(4)
        if begins != b"GGUF":
            raise ValueError(
                stand_in(file) or f"{file} is no GGUF file: correct `file` in the families file, or download it again."
            )
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}.") from error


class _Odd(Exception):
    """What is wrong with a header."""


@dataclass(slots=True)
class _Cursor:
    """A place in the file. What lies behind its end is a `struct.error` or `_Odd`."""

    data: mmap.mmap
    at: int
    elements: int = 0

    def number(self, form: str) -> Any:
        [found] = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def skip(self, count: int) -> int:
        """Go over so many bytes; returns where they begin."""
        begin = self.at
        if count > len(self.data) - begin:
            raise _Odd("it ends within its header")
        self.at += count
        return begin

    def text(self) -> str:
        begin = self.skip(self.number("Q"))
        return self.data[begin : self.at].decode()

    def count(self, form: str) -> int:
        """A number of things to read, all of them together not too many."""
        found = int(self.number(form))
        self.elements += found
        if self.elements > _MOST:
            raise _Odd("it says that it has more than it can have")
        return found


def _read(cursor: _Cursor, sizes: Mapping[int, tuple[int, int]]) -> GgufHeader:
    if (version := cursor.number("I")) not in (2, 3):
        raise _Odd(f"its version is {version}, and 2 and 3 are read")
    tensors, pairs = cursor.count("Q"), cursor.count("Q")
    values, lengths = dict[str, Any](), dict[str, int]()
    for _ in range(pairs):
        key, kind = cursor.text(), cursor.number("I")
        if key in values or key in lengths:
            raise _Odd(f"it says {key!r:.60} twice")
        if kind == _ARRAY:
            lengths[key] = _over_array(cursor)
        else:
            values[key] = _value(cursor, kind)
    shapes, end = dict[str, tuple[int, ...]](), 0
    for _ in range(tensors):
        name, shape, after = _tensor(cursor, sizes)
        if name in shapes:
            raise _Odd(f"it has {name!r:.60} twice")
        shapes[name], end = shape, max(end, after)
    aligned = values.get("general.alignment", 32)
    if type(aligned) is not int or aligned < 1 or aligned & (aligned - 1):
        raise _Odd("its alignment is no power of two")
    begin = -(-cursor.at // aligned) * aligned
    if begin + end > len(cursor.data):
        raise _Odd(f"it has {len(cursor.data):,} bytes and its header says {begin + end:,}")
    return GgufHeader(values, lengths, shapes)


def _value(cursor: _Cursor, kind: int) -> Any:
    if kind == _TEXT:
        return cursor.text()
    if kind not in _SCALARS:
        raise _Odd(f"it has a value of the unknown kind {kind}")
    return cursor.number(_SCALARS[kind])


def _over_array(cursor: _Cursor) -> int:
    """Go over an array; returns its length."""
    kind, length = cursor.number("I"), cursor.count("Q")
    if kind == _TEXT:
        for _ in range(length):
            cursor.skip(cursor.number("Q"))
    elif kind in _SCALARS:
        cursor.skip(length * struct.calcsize(f"<{_SCALARS[kind]}"))
    else:
        raise _Odd(f"it has an array of the unknown kind {kind}")
    return length


def _tensor(cursor: _Cursor, sizes: Mapping[int, tuple[int, int]]) -> tuple[str, tuple[int, ...], int]:
    """Name, shape, and end of a tensor, counted from where the numbers begin."""
    name, axes = cursor.text(), cursor.number("I")
    if axes > _MOST_AXES:
        raise _Odd(f"{name!r:.60} has {axes} axes")
    shape = tuple(cursor.number("Q") for _ in range(axes))
    kind, offset = cursor.number("I"), cursor.number("Q")
    if kind not in sizes:
        raise _Odd(f"{name!r:.60} is of the unknown number format {kind}")
    numbers, count = sizes[kind]
    return name, shape, offset + -(-math.prod(shape) // numbers) * count
