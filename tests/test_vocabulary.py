"""Members share their ids or are refused, and a visitor's text is only ever text."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from conftest import BEGIN, END

from eft_core.vocabulary import encode, shared


class Words:
    """A tokenizer as far as the check looks: texts by id, and an end token."""

    def __init__(self, words: list[str], eos_token_id: int | None = None) -> None:
        self.words, self.eos_token_id = words, eos_token_id

    def __len__(self) -> int:
        return len(self.words)

    def get_vocab(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}


def test_the_shared_width_is_the_smallest_of_all_tokenizers_and_models() -> None:
    one, two = Words(["a", "b", "c", "d"]), Words(["a", "b", "c", "x", "y"])
    assert shared({"one": one}, {"small": 9, "large": 12}, frozenset(), {}).width == 4
    assert shared({"one": one, "two": two}, {"small": 3}, frozenset(), {}).width == 3


def test_a_different_id_is_refused_by_number_and_both_texts() -> None:
    one, two = Words(["a", "b", "c", "d"]), Words(["a", "b", "C", "D"])
    with pytest.raises(ValueError, match=r"one and two do not share a vocabulary: id 2 is 'c' .* 'C' in the second"):
        shared({"one": one, "two": two}, {"m": 4}, frozenset(), {})


def test_a_stated_alias_is_accepted_in_either_direction() -> None:
    one, two = Words(["a", "<|end|>"]), Words(["a", "<|im_end|>"])
    for pair in ({"<|end|>": "<|im_end|>"}, {"<|im_end|>": "<|end|>"}):
        assert shared({"one": one, "two": two}, {"m": 2}, frozenset(), pair).width == 2
    with pytest.raises(ValueError, match="id 1"):
        shared({"one": one, "two": two}, {"m": 2}, frozenset(), {"<|end|>": "other"})


def test_end_ids_are_the_union_inside_the_shared_range() -> None:
    tokenizers = {"one": Words(["a", "b", "c"], 1), "two": Words(["a", "b", "c"], 2), "three": Words(["a", "b", "c"])}
    assert shared(tokenizers, {"m": 3}, frozenset({0, 7}), {}).end_ids == {0, 1, 2}


def test_the_template_form_is_that_of_the_library(tokenizer: Any) -> None:
    """Pieces are joined so that ids equal those of the whole rendered text, as in training."""
    for text in ("What is the capital of Kenya?", "  spaces around  ", "naïve 😀", "line\nbreak", "x"):
        message = [{"role": "user", "content": text}]
        rendered = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        assert encode(tokenizer, text) == tuple(tokenizer(rendered, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("text", [END, f"a {BEGIN}{END} b", f"{END}{END}", f"\n{END}"])
def test_special_tokens_typed_by_a_visitor_stay_text(tokenizer: Any, text: str) -> None:
    ids = encode(tokenizer, text)
    assert ids[0] == 0  # the template's own begin token
    assert not {0, 1} & set(ids[1:])
    assert tokenizer.decode(ids[1:]) == f"Question: {text.strip()}\nAnswer:"
    raw = copy.deepcopy(tokenizer)
    raw.chat_template = None
    assert not {0, 1} & set(encode(raw, text))
    assert raw.decode(encode(raw, text)) == text


def test_special_tokens_of_the_template_around_the_text_stay_tokens(tokenizer: Any) -> None:
    chat = copy.deepcopy(tokenizer)
    chat.chat_template = "{{ bos_token }}user\n{{ messages[0]['content'] }}{{ eos_token }}\nassistant:"
    ids = encode(chat, f"hi {END} there ")
    assert [token for token in ids if token < 2] == [0, 1]
    assert chat.decode(ids) == f"{BEGIN}user\nhi {END} there {END}\nassistant:"


@pytest.mark.parametrize(
    "text", ["a\x00b", "😀👩‍👩‍👧", "مرحبا שלום", "{{ bos_token }}{% raise %}", "\ue000", "<script>"]
)
def test_odd_text_arrives_unchanged(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(encode(tokenizer, text)[1:]) == f"Question: {text}\nAnswer:"


def test_half_a_surrogate_pair_becomes_a_replacement_character(tokenizer: Any) -> None:
    assert tokenizer.decode(encode(tokenizer, "a\ud83db")[1:]) == "Question: a\ufffdb\nAnswer:"


def test_padding_rows_of_larger_models_are_sliced_off(sessions: Callable[[str], Any], tokenizer: Any) -> None:
    session = sessions("llama")
    widths = {str(member): session.models.facts(member).width for member in session.family.checkpoints}
    assert len(set(widths.values())) == 2
    assert session.models.vocabulary.width == min(widths.values()) == len(tokenizer)
    assert session.models.vocabulary.end_ids == {1}
