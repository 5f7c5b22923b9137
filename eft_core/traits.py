"""What a tokenizer is and does: its tokens and their ids, its parts, and how it cuts a fixed set of texts.

Two tokenizers are compared by this (`doctor`). Parts of equal effect are written in several ways, and of equal names in
different versions, so the cuts of the probes count and the parts are evidence. Loads no model and no torch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Whitespace, digits, code, accents composed and decomposed, scripts, emoji, directions, and texts of special tokens.
PROBES = (
    "What is the capital of Kenya?", "the", " the", "the ", "two  spaces", "     five", "\ttab", "a\nb", "a\n\n\nb",
    "line\r\nend", " \n \n ", "1234567890", "3.14159", "1,000,000", "2024-07-26", "0x1F", "don't I'll we've they're",
    "snake_case camelCase SCREAMING", "x += 1;  // comment", "def f(a, b):\n    return a ** b\n",
    '{"json": [1, null, true]}', "<html>&amp;</html>", "----====....!!!!", "https://example.org/a?b=c#d",
    "\\n \\t \\u0041", "caf\u00e9", "cafe\u0301", "\u00c5 \u212b A\u030a", "ﬁ ½ ² ™ № Ⅳ", "Straße ΑΒΓ кириллица",
    "日本語のテキスト", "한국어 문장", "中文句子。", "שלום עולם", "مرحبا بالعالم", "नमस्ते ไทย", "🙂", "👩‍👩‍👧 🇰🇪 👍🏽",
    "a\u00a0b\u2003c", "zero\u200bwidth\ufeffmark", "a\u2028b\u0085c", "…—“”‘’«»", "MiXeD Case ĀĒ", "\x00\x07\x1b[0m",
    "<s>", "</s>", "<|endoftext|>", "<|im_start|>user", "[INST] a [/INST]", "<eos><pad><unk>", "<think>a</think>",
    "▁the ▁▁", "Ġthe Ċ", "<0x41>", "##ing", "supercalifragilistic antidisestablishmentarianism", "aaaaaaaaaaaaaaaaaa",
)  # fmt: skip
_LARGEST = 10_000_000  # no id of a vocabulary is larger, by far
_PARTS = ("normalizer", "pre_tokenizer", "decoder")


@dataclass(frozen=True, slots=True)
class Traits:
    """`texts` are the tokens, id by id (None where an id has none), and `ids` the reverse. `added` are the flags of
    added tokens by id. `around`: what it puts around a text by itself. `parts` are JSON texts, "" for none. `cuts`
    are the token texts of each probe."""

    kind: str
    texts: tuple[str | None, ...]
    ids: Mapping[str, int]
    added: Mapping[int, str]
    begin: str | None
    end_id: int | None
    around: tuple[str, ...]
    template: str
    parts: Mapping[str, str]
    cuts: tuple[tuple[str, ...], ...]

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return len(self.texts)

    def text(self, number: int) -> str:
        """The token of an id, or its number where it has none."""
        return (self.texts[number] if number < self.size else None) or f"id {number}"


def traits_of(tokenizer: Any) -> Traits:
    """The traits of a transformers tokenizer. From one thread at a time: a tokenizer keeps state while it encodes.

    ValueError for an id that no vocabulary reaches, and that a table of all ids could not either."""
    ids = tokenizer.get_vocab()
    largest = max(ids.values(), default=-1)
    if largest > _LARGEST:
        raise ValueError(f"a tokenizer has the id {largest:,}, beyond all vocabularies: download its checkpoint again.")
    texts: list[str | None] = [None] * (largest + 1)
    for text, number in ids.items():
        texts[number] = text
    cut = tokenizer(list(PROBES), add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    template = tokenizer.chat_template or ""
    return Traits(
        kind=type(tokenizer).__name__,
        texts=tuple(texts),
        ids=ids,
        added={number: _flags(token) for number, token in tokenizer.added_tokens_decoder.items()},
        begin=tokenizer.bos_token,
        end_id=tokenizer.eos_token_id,
        around=tuple(tokenizer.convert_ids_to_tokens(tokenizer("", verbose=False)["input_ids"])),
        template=template if isinstance(template, str) else json.dumps(template, indent=0),
        parts=_parts(getattr(tokenizer, "backend_tokenizer", None)),
        cuts=tuple(tuple(tokenizer.convert_ids_to_tokens(row)) for row in cut),
    )


def _flags(token: Any) -> str:
    """The flags of an added token in words, such as "special, rstrip"."""
    names = ("special", "normalized", "lstrip", "rstrip", "single_word")
    return ", ".join(name for name in names if getattr(token, name)) or "plain"


def _parts(backend: Any) -> dict[str, str]:
    """Each part as tokenizer.json writes it. A tokenizer without one has none, and is known by its cuts alone."""
    found = {name: getattr(backend, name, None) for name in _PARTS}
    return {name: part.__getstate__().decode() if part is not None else "" for name, part in found.items()}
