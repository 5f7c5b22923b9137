"""Do these checkpoints really share token ids? Report, or refuse; and prompts as ids.

The formula adds log-probabilities of different models token by token, which has a meaning only when an id is the same
text in all of them. Logits are sliced to the shared width: padding rows differ by size (ECOSYSTEM.md 5).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Stands for the visitor's text while a chat template is rendered; the spaces show whether the template trims.
_PLACE = "\ue000eft-lab-prompt\ue001"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ids that all members share: 0 to width - 1, and those that end an answer."""

    width: int
    end_ids: frozenset[int]


def shared(
    tokenizers: Mapping[str, Any], widths: Mapping[str, int], end_ids: frozenset[int], aliases: Mapping[str, str]
) -> Vocabulary:
    """Compare every tokenizer with the first; ValueError names the first id that differs, and both texts.

    `widths` are the models' logit widths by name; `aliases` are pairs of token texts that are one on purpose.
    """
    width = min(*widths.values(), *(len(tokenizer) for tokenizer in tokenizers.values()))
    (first, reference), *others = tokenizers.items()
    expected = _texts(reference, width)
    for name, tokenizer in others:
        _compare(first, expected, name, _texts(tokenizer, width), aliases)
    ends = {tokenizer.eos_token_id for tokenizer in tokenizers.values()} | end_ids
    return Vocabulary(width, frozenset(end for end in ends if end is not None and end < width))


def _texts(tokenizer: Any, width: int) -> list[str | None]:
    """The token of every id below `width`."""
    texts: list[str | None] = [None] * width
    for text, number in tokenizer.get_vocab().items():
        if number < width:
            texts[number] = text
    return texts


def _compare(
    first: str, expected: list[str | None], name: str, found: list[str | None], aliases: Mapping[str, str]
) -> None:
    for number, (one, two) in enumerate(zip(expected, found, strict=True)):
        if one == two or (one is not None and aliases.get(one) == two) or (two is not None and aliases.get(two) == one):
            continue
        raise ValueError(
            f"{first} and {name} do not share a vocabulary: id {number} is {one!r} in the first and {two!r} in the "
            "second. Use checkpoints of one family, or state the pair under aliases in the families file."
        )


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of a checkpoint folder, from its files alone."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"no usable tokenizer in {folder}: {error}".splitlines()[0]) from error


def encode(tokenizer: Any, prompt: str) -> tuple[int, ...]:
    """Ids of one user message in the tokenizer's chat template, or of the raw text where it has none.

    Special-token texts inside the prompt stay text: they never become the tokens they name.
    """
    text = prompt.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # lone surrogates are not text
    if not tokenizer.chat_template:
        return tuple(tokenizer(text, split_special_tokens=True, verbose=False)["input_ids"])
    before, after, trims = _around(tokenizer)
    head, start = _split_last(before, tokenizer.all_special_tokens)
    end, rest = _split_first(after, tokenizer.all_special_tokens)
    # The text and its neighbours are encoded in one piece, as in training: " What" is one token, " " + "What" is not.
    middle = start + (text.strip() if trims else text) + end
    ids: list[int] = []
    for part, split in ((head, False), (middle, True), (rest, False)):
        if part:
            ids += tokenizer(part, add_special_tokens=False, split_special_tokens=split, verbose=False)["input_ids"]
    return tuple(ids)


def encode_response(tokenizer: Any, prompt: str, response: str) -> tuple[int, ...]:
    """Ids of a response as it would stand behind the prompt; special-token texts inside it stay text.

    Where the rendered prompt ends in a word or a colon, models begin an answer with a space, so one is put there.
    """
    text = response.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    tail = _around(tokenizer)[1] if tokenizer.chat_template else prompt
    beside = any(tail.endswith(token) for token in tokenizer.all_special_tokens if token)
    if tail and not tail[-1].isspace() and not text[:1].isspace() and not beside:
        text = " " + text
    return tuple(tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"])


def _around(tokenizer: Any) -> tuple[str, str, bool]:
    """What the template puts before and after a user's text, and whether it trims the text."""
    message = [{"role": "user", "content": f" {_PLACE} "}]
    rendered = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    trims = f" {_PLACE} " not in rendered or rendered.count(_PLACE) != 1
    before, found, after = rendered.partition(_PLACE if trims else f" {_PLACE} ")
    if not found:
        raise ValueError("this family's chat template does not show the user's message: it cannot be used.")
    return before, after, trims


def _split_last(text: str, specials: list[str]) -> tuple[str, str]:
    """Cut behind the last special token."""
    cut = max((text.rfind(token) + len(token) for token in specials if token and token in text), default=0)
    return text[:cut], text[cut:]


def _split_first(text: str, specials: list[str]) -> tuple[str, str]:
    """Cut before the first special token."""
    cut = min((text.find(token) for token in specials if token and token in text), default=len(text))
    return text[:cut], text[cut:]
