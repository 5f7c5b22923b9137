"""Streamed pieces are whole characters, never a stop string, and together exactly the decoded whole."""

import random
from typing import Any

import pytest

from eft_core.detokenize import Detokenizer

HARD = "naïve 😀👩‍👩‍👧 مرحبا שלום 漢字 é \x00 <script>${x}{{y}}</script> � end"


def pieces(tokenizer: Any, ids: list[int], stop: tuple[str, ...] = ()) -> list[str]:
    detokenizer = Detokenizer(tokenizer, stop)
    out = [detokenizer.push(token) for token in ids] + [detokenizer.finish()]
    assert "".join(out) == detokenizer.text
    return out


def whole(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def test_a_character_of_several_tokens_comes_in_one_piece(tokenizer: Any) -> None:
    ids = tokenizer("a😀b", add_special_tokens=False)["input_ids"]
    assert len(ids) > 4  # the emoji is split over tokens
    assert [piece for piece in pieces(tokenizer, ids) if piece] == ["a", "😀", "b"]


def test_hard_text_comes_back_exactly(tokenizer: Any) -> None:
    ids = tokenizer(HARD, add_special_tokens=False)["input_ids"]
    assert "".join(pieces(tokenizer, ids)) == HARD


@pytest.mark.parametrize("seed", range(30))
def test_any_tokens_give_the_decoded_whole(tokenizer: Any, seed: int) -> None:
    """Random ids: invalid bytes, characters cut in the middle, special tokens between."""
    chance = random.Random(seed)
    ids = [chance.randrange(len(tokenizer)) for _ in range(60)]
    got = pieces(tokenizer, ids)
    assert "".join(got) == whole(tokenizer, ids)


@pytest.mark.parametrize("seed", range(30))
def test_tokens_that_are_told_together_give_the_same_whole(tokenizer: Any, seed: int) -> None:
    chance = random.Random(seed)
    ids = [chance.randrange(len(tokenizer)) for _ in range(60)]
    detokenizer, got = Detokenizer(tokenizer), ""
    for token in ids:
        assert not detokenizer.add(token), "without stop strings its text may wait"
        got += detokenizer.news() if chance.random() < 0.2 else ""
        assert whole(tokenizer, ids).startswith(got)
    assert got + detokenizer.finish() == whole(tokenizer, ids)


def test_of_tokens_that_are_told_together_only_the_character_at_the_end_waits(tokenizer: Any) -> None:
    detokenizer = Detokenizer(tokenizer)
    for token in tokenizer("ab 😀", add_special_tokens=False)["input_ids"][:-1]:
        detokenizer.add(token)
    assert detokenizer.news() == "ab "


def test_an_incomplete_character_at_the_end_is_flushed_as_a_replacement(tokenizer: Any) -> None:
    ids = tokenizer("ok 😀", add_special_tokens=False)["input_ids"][:-1]
    got = pieces(tokenizer, ids)
    assert "\ufffd" not in "".join(got[:-1])
    assert got[-1].endswith("\ufffd")
    assert "".join(got) == whole(tokenizer, ids)


def test_special_tokens_are_not_shown(tokenizer: Any) -> None:
    hello = tokenizer("Hello", add_special_tokens=False)["input_ids"]
    assert "".join(pieces(tokenizer, [0, *hello, 1, *hello])) == "HelloHello"


def test_text_ends_before_the_first_stop_string_even_across_tokens(tokenizer: Any) -> None:
    ids = tokenizer("one two three two", add_special_tokens=False)["input_ids"]
    assert "".join(pieces(tokenizer, ids, ("two", "three"))) == "one "
    assert "".join(pieces(tokenizer, ids, ("e t",))) == "on"
    assert "".join(pieces(tokenizer, ids, ("never",))) == "one two three two"


def test_the_earliest_of_two_stop_strings_in_one_token_wins(tokenizer: Any) -> None:
    ids = tokenizer(" capital", add_special_tokens=False)["input_ids"]
    assert len(ids) == 1
    assert "".join(pieces(tokenizer, ids, ("tal", "pit"))) == " ca"


def test_what_may_begin_a_stop_string_waits_and_comes_when_it_does_not(tokenizer: Any) -> None:
    detokenizer = Detokenizer(tokenizer, ("##END",))
    ids = [tokenizer(letter, add_special_tokens=False)["input_ids"] for letter in "a##EN#b"]
    assert [detokenizer.push(token) for (token,) in ids] == ["a", "", "", "", "", "##EN", "#b"]
    assert not detokenizer.stopped
    rest = Detokenizer(tokenizer, ("##END",))
    assert [rest.push(token) for (token,) in ids[:4]] == ["a", "", "", ""]
    assert rest.finish() == "##E"


def test_nothing_follows_a_stop_string(tokenizer: Any) -> None:
    detokenizer = Detokenizer(tokenizer, ("b",))
    ids = tokenizer("abab", add_special_tokens=False)["input_ids"]
    assert "".join(detokenizer.push(token) for token in ids) + detokenizer.finish() == "a"
    assert detokenizer.stopped
