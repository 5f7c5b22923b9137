"""Every token can be shown alone: as its text, as its bytes, or by its name."""

from typing import Any

import pytest
from conftest import BEGIN, END, LINES

from eft_core.token_text import TokenTexts


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.fixture
def texts(tokenizer: Any) -> TokenTexts:
    return TokenTexts(tokenizer)


@pytest.mark.parametrize("text", ["é", "日本", "😀", "naïve 日本 👩‍👩‍👧 שלום"])
def test_tokens_that_split_a_character_are_told_as_its_bytes(tokenizer: Any, texts: TokenTexts, text: str) -> None:
    ids = ids_of(tokenizer, text)
    found = texts.of(ids)
    assert found.bytes
    assert not found.special
    whole = b"".join(
        bytes.fromhex(found.bytes[each]) if each in found.bytes else found.text[each].encode() for each in ids
    )
    assert whole.decode() == text
    assert all("\ufffd" not in each for each in found.text.values())


@pytest.mark.parametrize("line", [*LINES, " a  b\tc\n\n d ", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"])
def test_texts_of_tokens_join_to_the_decoded_whole(tokenizer: Any, texts: TokenTexts, line: str) -> None:
    ids = ids_of(tokenizer, line)
    found = texts.of(ids)
    assert "".join(found.text[each] for each in ids) == line == tokenizer.decode(ids)


def test_a_space_before_a_word_belongs_to_its_token(tokenizer: Any, texts: TokenTexts) -> None:
    (word,) = [each for each in ids_of(tokenizer, "Good capital") if "apital" in tokenizer.decode([each])]
    assert texts.text(word) == " capital"


def test_special_tokens_are_told_by_name(tokenizer: Any, texts: TokenTexts) -> None:
    found = texts.of([0, 1])
    assert found == ({}, {}, {0: BEGIN, 1: END})
    assert texts.text(1) == END


def test_more_tokens_may_be_special_than_the_tokenizer_says(tokenizer: Any) -> None:
    (dot,) = ids_of(tokenizer, ".")
    assert TokenTexts(tokenizer).of([dot]).text == {dot: "."}
    assert TokenTexts(tokenizer, special={dot}).of([dot]).special == {dot: "."}


def test_every_id_is_in_one_of_the_three(tokenizer: Any, texts: TokenTexts) -> None:
    found = texts.of(range(len(tokenizer)))
    assert sorted([*found.text, *found.bytes, *found.special]) == list(range(len(tokenizer)))
    assert all(found.text.values())
    assert all(bytes.fromhex(each) for each in found.bytes.values())


def test_every_id_has_a_short_text(tokenizer: Any, texts: TokenTexts) -> None:
    (first, *_) = ids_of(tokenizer, "é")
    assert texts.text(first) == "<c3>"
    assert all(texts.text(each) for each in range(len(tokenizer)))


class Pieces:
    """A tokenizer as SentencePiece makes them: words with their space, which the first loses, and bytes by name."""

    names = ("<unk>", "<s>", "</s>", "▁a", "▁the", "ing", "<0xE2>", "<0x82>", "<0xAC>", "<0x0A>", "a", "\ufffd")
    all_special_ids = (0, 1, 2)

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert (text, add_special_tokens) == ("a", False)
        return {"input_ids": [3]}

    def convert_ids_to_tokens(self, number: int) -> str:
        return self.names[number]

    def decode(self, ids: list[int], skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> str:
        raw = b""
        for name in (self.names[each] for each in ids):
            raw += bytes([int(name[3:5], 16)]) if name.startswith("<0x") else name.replace("▁", " ").encode()
        return raw.decode(errors="replace").removeprefix(" ")


def test_pieces_keep_their_space_and_name_their_bytes() -> None:
    found = TokenTexts(Pieces()).of(range(12))
    assert found.text == {3: " a", 4: " the", 5: "ing", 9: "\n", 10: "a", 11: "\ufffd"}
    assert found.bytes == {6: "e2", 7: "82", 8: "ac"}
    assert found.special == {0: "<unk>", 1: "<s>", 2: "</s>"}
