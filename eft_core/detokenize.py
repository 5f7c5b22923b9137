"""Text from tokens as they come: pieces that never split a character and never show a stop string.

A byte-level token can end inside a character; the piece waits until the character is whole. Text that may begin a
stop string waits too. All pieces together are exactly the decoded whole, up to the stop string.
"""

from collections.abc import Sequence
from typing import Any

_INCOMPLETE = "\ufffd"
_LOOKED_AT = 16  # ids from the end, in which a character may be incomplete: a model that writes bytes has no bound


class Detokenizer:
    """Turns one row's token ids into text pieces. `tokenizer` is a transformers tokenizer."""

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self._tokenizer, self._stop = tokenizer, tuple(stop)
        self._ids: list[int] = []
        self._prefix = self._read = 0  # ids before `_read` are shown; those from `_prefix` give the decoder context
        self._held = ""  # text that may begin a stop string
        self.text = ""  # everything given out
        self.stopped = False  # a stop string was met; nothing follows

    def push(self, token: int) -> str:
        """Add a token and return the text that is certain now."""
        self.add(token)
        return self.news()

    def add(self, token: int) -> bool:
        """Add a token; whether its text must be looked at at once, for it may meet a stop string."""
        if not self.stopped:
            self._ids.append(token)
        return bool(self._stop)

    def news(self) -> str:
        """The text of all tokens that is certain now and was not given out yet."""
        return "" if self.stopped else self._give(self._fresh(final=False), final=False)

    def finish(self) -> str:
        """The rest of the text: an incomplete character at the end becomes U+FFFD."""
        return "" if self.stopped else self._give(self._fresh(final=True), final=True)

    def _fresh(self, final: bool) -> str:
        """Text of the ids that were not shown yet, up to the last of them that ends a character (if any may follow)."""
        shown = self._decode(self._ids[self._prefix : self._read])
        last = len(self._ids)
        for end in range(last, max(self._read, last - _LOOKED_AT), -1):
            now = self._decode(self._ids[self._prefix : end])
            if final or (len(now) > len(shown) and not now.endswith(_INCOMPLETE)):
                self._prefix, self._read = self._read, end
                return now[len(shown) :]
        return ""

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _give(self, fresh: str, final: bool) -> str:
        """Cut at the first stop string; hold back what may begin one."""
        text, self._held = self._held + fresh, ""
        met = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if met:
            self.stopped = True
            text = text[: min(met)]
        elif not final:
            keep = max((_overlap(text, stop) for stop in self._stop), default=0)
            text, self._held = text[: len(text) - keep], text[len(text) - keep :]
        self.text += text
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop` without being it."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
