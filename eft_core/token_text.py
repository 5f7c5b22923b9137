"""Single tokens as people read them: text, the bytes of what is no whole character, the names of special tokens."""

import re
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Texts(NamedTuple):
    """By id, and every id in one of the three: text; bytes as hex; the name of a special token."""

    text: dict[int, str]
    bytes: dict[int, str]
    special: dict[int, str]


class TokenTexts:
    """The texts of a tokenizer's tokens; `special` ids are shown by name. `tokenizer` is a transformers tokenizer."""

    def __init__(self, tokenizer: Any, special: Collection[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._special = {*special, *tokenizer.all_special_ids}
        # A token alone may lose the space before it; behind another one it does not.
        self._anchor = tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
        self._before = len(self._decode(self._anchor))
        self._known: dict[int, tuple[int, str]] = {}  # which of the three, and the value

    def of(self, ids: Iterable[int]) -> Texts:
        """The texts of some tokens."""
        found = Texts({}, {}, {})
        for number in ids:
            if number not in self._known:
                self._known[number] = self._read(number)
            kind, value = self._known[number]
            found[kind][number] = value
        return found

    def text(self, number: int) -> str:
        """A token in one short string, whichever of the three it is."""
        kind, value = self._known.setdefault(number, self._read(number))
        return f"<{value}>" if kind == 1 else value

    def _read(self, number: int) -> tuple[int, str]:
        raw = str(self._tokenizer.convert_ids_to_tokens(number))
        if number in self._special:
            return 2, raw
        text = self._decode([*self._anchor, number])[self._before :]
        if "\ufffd" not in text:
            return 0, text
        found = _bytes_of(raw)
        return (0, text) if found is None else (1, found.hex())

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _bytes_of(raw: str) -> bytes | None:
    """The bytes of a token as tokenizers write them: <0xE2>, or GPT-2's letters for bytes. None if it is neither."""
    if found := _BYTE.fullmatch(raw):
        return bytes([int(found[1], 16)])
    letters = _letters()
    return bytes(letters[letter] for letter in raw) if all(letter in letters for letter in raw) else None


def _letters() -> dict[str, int]:
    """GPT-2's letter for every byte: printable ones stand for themselves, the others for U+0100 and on, in order."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
