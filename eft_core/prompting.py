"""Prompts as ids: the family's chat template for all members, or another format for its base members.

Every member has a cache of its own, so each may see the question in its own form (proxy-tuning prompts bases plainly).
What people write stays text: the texts of control tokens inside it never become the tokens they name. The same prompt
is the same ids on any day (`template`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eft_core.template import Piece, has_template, pieces, said_between

_SHOTS = (
    ("What is the capital of Italy?", "The capital of Italy is Rome."),
    ("How many legs does a spider have?", "A spider has eight legs."),
    ("Why is the sky blue?", "The air scatters blue light more than red light, so blue comes from all directions."),
)
PLAIN = "Question: {prompt}\nAnswer:"
FEW_SHOT = "".join(f"Question: {question}\nAnswer: {answer}\n\n" for question, answer in _SHOTS) + PLAIN
# Tokens of single bytes: some tokenizers flag them as special, but texts are made of them.
_BYTE = re.compile("<0x[0-9A-F]{2}>")
# "" is the chat template.
FORMATS = {"chat": "", "plain": PLAIN, "few-shot": FEW_SHOT}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question, what the system is told before, and earlier turns: pairs of a user's and an assistant's text."""

    text: str
    system: str = ""
    turns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise ValueError("the prompt is empty: write a question, or pick one of the examples.")
        if not isinstance(self.system, str):
            raise ValueError('the system prompt must be a text; "" is none.')
        turns = tuple(tuple(turn) if isinstance(turn, tuple | list) else (turn,) for turn in self.turns)
        if not all(len(turn) == 2 and all(isinstance(each, str) and each.strip() for each in turn) for turn in turns):
            raise ValueError("earlier turns must be pairs of texts, the user's and the assistant's: complete them.")
        object.__setattr__(self, "turns", turns)

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Roles and texts as a chat template wants them; halves of characters, which are not text, replaced."""
        told = [("system", self.system)] if self.system.strip() else []
        told += [pair for user, assistant in self.turns for pair in (("user", user), ("assistant", assistant))]
        return [(role, _whole(text)) for role, text in (*told, ("user", self.text))]


def format_of(name: str) -> str:
    """A base format's text, "" for the chat template. ValueError with the remedy for what is none."""
    if isinstance(name, str) and name in FORMATS:
        return FORMATS[name]
    if not isinstance(name, str) or name.count("{prompt}") != 1:
        raise ValueError(
            f"base_prompt = {name!r:.60} must be chat, plain, few-shot, or a text with one {{prompt}} in it."
        )
    return name


def base_stops(
    base_prompt: str,
    base_stop: tuple[str, ...] | None = None,
    tokenizer: Any = None,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Stop strings of columns that are a plain base model, which may never write an end token: those of the families
    file, or else what would open the next turn in the format; in the chat template of a `tokenizer`, if one is given.
    """
    if base_stop is not None:
        return base_stop
    if form := format_of(base_prompt):
        opening = form.split("{prompt}")[0].split("\n")[-1].strip()
        return (f"\n{opening}",) if opening else ()
    if tokenizer is None or not has_template(tokenizer, arguments or {}):
        return ()
    return said_between(tokenizer, arguments or {})


def encode(
    tokenizer: Any, prompt: Prompt | str, form: str = "", arguments: Mapping[str, Any] | None = None
) -> tuple[int, ...]:
    """Ids of a prompt: in the tokenizer's chat template, in the text `form` around it, or raw where there is neither.

    `arguments` go to the template; `chat_template` among them is one in the stead of the tokenizer's own. ValueError
    where the template shows no system text or no earlier turns.
    """
    prompt = Prompt(prompt) if isinstance(prompt, str) else prompt
    if form:
        marks = str((arguments or {}).get("chat_template") or tokenizer.chat_template or "")
        return _plain_ids(tokenizer, _formed(prompt, form), marks, begin=True)
    if not has_template(tokenizer, arguments or {}):
        if prompt.system or prompt.turns:
            raise ValueError(
                "this family has no chat template, so no system prompt and no earlier turns: leave them out."
            )
        return _plain_ids(tokenizer, _whole(prompt.text), "", begin=True)
    return _ids(tokenizer, pieces(tokenizer, prompt.messages, arguments or {}))


def encode_response(
    tokenizer: Any, prompt: Prompt | str, response: str, arguments: Mapping[str, Any] | None = None
) -> tuple[int, ...]:
    """Ids of a response as it would stand behind the prompt; texts of special tokens inside it stay text.

    Where the rendered prompt ends in a word or a colon, models begin an answer with a space, so one is put there.
    """
    prompt = Prompt(prompt) if isinstance(prompt, str) else prompt
    text, tail, marks = _whole(response), prompt.text, ""
    if has_template(tokenizer, arguments or {}):
        rendered = pieces(tokenizer, prompt.messages, arguments or {})
        tail = "".join(piece.text for piece in rendered)
        marks = "".join(piece.text for piece in rendered if not piece.written)
    beside = tail.endswith(tuple(_controls(tokenizer, tail)))
    if tail and not tail[-1].isspace() and not text[:1].isspace() and not beside:
        text = " " + text
    return _plain_ids(tokenizer, text, marks)


def _formed(prompt: Prompt, form: str) -> str:
    """A plain text around the question; a system text stands before it, earlier turns are written in the same form."""
    written = [_whole(text).strip() for role, text in prompt.messages if role != "system"]
    users, answers = written[::2], written[1::2]
    told = "".join(
        f"{form.replace('{prompt}', user)} {answer}\n\n" for user, answer in zip(users[:-1], answers, strict=True)
    )
    system = f"{_whole(prompt.system).strip()}\n\n" if prompt.system.strip() else ""
    return system + told + form.replace("{prompt}", users[-1])


def _ids(tokenizer: Any, rendered: list[Piece]) -> tuple[int, ...]:
    """The ids of the whole rendered text, as in training; with what people wrote as text, whatever it spells."""
    text = "".join(piece.text for piece in rendered)
    own = "".join("x" if piece.written else piece.text for piece in rendered)
    controls = _controls(tokenizer, own)
    whole, template = (tokenizer(each, add_special_tokens=False, verbose=False)["input_ids"] for each in (text, own))
    unknown = _unknown(tokenizer)
    named = set(controls.values()) - unknown
    spelled = any(piece.written and tokenizer.unk_token in piece.text for piece in rendered if unknown)
    if not spelled and [n for n in whole if n in named] == [n for n in template if n in named]:
        return tuple(whole)
    # A control token's text was written: the template's own control tokens stay, and all between them is text.
    ids: list[int] = []
    for chunk, written in _chunks(rendered, controls):
        if written:
            ids += _text_ids(tokenizer, chunk, named)
        else:
            ids += tokenizer(chunk, add_special_tokens=False, verbose=False)["input_ids"]
    return tuple(ids)


def _controls(tokenizer: Any, template: str) -> dict[str, int]:
    """Texts and ids of the tokens that steer: special ones, and added ones that the rendered template is built with."""
    return {
        token.content: number
        for number, token in tokenizer.added_tokens_decoder.items()
        if (token.special or token.content in template) and token.content.strip() and not _BYTE.match(token.content)
    }


def _unknown(tokenizer: Any) -> set[int]:
    """The token of unknown letters, which any text may hold; not where it is also one that begins or ends texts."""
    return {tokenizer.unk_token_id} - {None, tokenizer.bos_token_id, tokenizer.eos_token_id}


def _chunks(rendered: list[Piece], controls: Mapping[str, int]) -> list[tuple[str, bool]]:
    """The text in parts: the template's control tokens, and what stands between them, in one part each, as in training:
    " What" is one token, " " + "What" is not. True where people wrote any of it."""
    longest_first = sorted(map(re.escape, controls), key=len, reverse=True)
    control = re.compile(f"({'|'.join(longest_first)})")
    chunks, text, written = list[tuple[str, bool]](), "", False
    for piece in rendered:
        parts = [piece.text] if piece.written else control.split(piece.text)
        for number, part in enumerate(parts):
            if number % 2:
                chunks += [(text, written), (part, False)]
                text, written = "", False
            else:
                text, written = text + part, written or piece.written
    return [(each, own) for each, own in (*chunks, (text, written)) if each]


def _plain_ids(tokenizer: Any, text: str, template: str, begin: bool = False) -> tuple[int, ...]:
    """Ids of a text in which nothing is a special token, nor one that the `template` is built with; `begin`: with what
    the tokenizer puts around it by itself."""
    ids = _text_ids(tokenizer, text, set(_controls(tokenizer, template).values()) - _unknown(tokenizer))
    if not begin:
        return tuple(ids)
    whole, bare = (
        tokenizer(text, add_special_tokens=around, split_special_tokens=True, verbose=False)["input_ids"]
        for around in (True, False)
    )
    start = next(n for n in range(len(whole) + 1) if whole[n : n + len(bare)] == bare)
    return (*whole[:start], *ids, *whole[start + len(bare) :])


def _text_ids(tokenizer: Any, text: str, controls: set[int]) -> list[int]:
    """Ids of a text in which none of the `controls` is found. ValueError where the tokenizer makes one of text."""
    ids = list(tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"])
    if not controls.isdisjoint(ids):
        ids = _without_added(tokenizer, text)
    if met := controls.intersection(ids):
        raise ValueError(
            f"this family's tokenizer does not keep {tokenizer.convert_ids_to_tokens(min(met))!r} as text: take it out."
        )
    return ids


def _without_added(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text in which no added token is looked for. (Those that are not special are found in any text.)"""
    backend = tokenizer.backend_tokenizer
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    words = [text]
    if backend.pre_tokenizer is not None:
        words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    return [token.id for word in words for token in backend.model.tokenize(word)]


def _whole(text: str) -> str:
    """The text without halves of characters, which are not text."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
