"""A comparison survives its address, and a stranger's address cannot do harm."""

import random
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest

from components.columns import MAX_COLUMNS
from components.inputs import MAX_DRAFT, Decoding
from components.links import MAX_LINK, Link, decode, decode_column, encode, encode_column
from eft_core.config import Limits, Sampling, Speculation
from eft_core.family import Family
from eft_core.policy import Policy, plain, tuned, up_scale


@pytest.fixture
def family(session: Any) -> Family:
    return session.family


def read(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query.removeprefix("?"), keep_blank_values=True)


def test_a_link_is_readable(family: Family) -> None:
    link = Link("Hi", (("", plain("large")), ("", up_scale("large", "small"))))
    query = "?prompt=Hi&column=large&column=large:small:helpful=1:beta=1&temperature=0&seed=0&length=80"
    assert encode(link) == query
    assert decode(read(query), family) == link


@pytest.mark.parametrize("seed", range(100))
def test_every_comparison_survives_its_link(family: Family, seed: int) -> None:
    rng = random.Random(seed)
    columns = tuple((rng.choice(LABELS), some_policy(rng)) for _ in range(rng.randint(1, MAX_COLUMNS)))
    sampling = Sampling(
        rng.random() * 2, rng.choice([None, 1, 50]), rng.choice([None, rng.random()]), rng.randrange(2**53)
    )
    decoding = Decoding(sampling, Limits(rng.randint(1, 512)), some_speculation(rng))
    link = Link(rng.choice(PROMPTS), columns, decoding)
    assert decode(read(encode(link)), family) == link


LABELS = ("", "My name", "a:b=c~d", "50% & more", "日本語 + x", "p=1")
PROMPTS = ("What is the capital of Kenya?", "a&b=c#d?e+f %20", "مرحبا\nلك", "<script>${x}{{y}}</script>", "😀\u200d")


def some_policy(rng: random.Random) -> Policy:
    finetune = rng.choice([None, "small", "large"])
    if finetune is None:
        return plain(rng.choice(["small", "large"]))
    names = ["helpful", "harmless"] if finetune == "small" else ["helpful"]
    weights = {name: rng.choice([1.0, rng.random() * 2]) for name in names[: rng.randint(0, len(names))]}
    nucleus = rng.choice([None, 0.8 + rng.random() / 5])
    return Policy(rng.choice(["small", "large"]), finetune, weights, amplification=rng.random() * 2, nucleus=nucleus)


def some_speculation(rng: random.Random) -> Speculation | None:
    if rng.random() < 0.2:
        return None
    rule: Any = rng.choice(["block", "token", "noise"])
    return Speculation(rng.choice([None, rng.randint(1, MAX_DRAFT)]), rule, timed=rng.random() < 0.5)


@pytest.mark.parametrize(
    ("speculation", "carried"),
    [
        (Speculation(rule="noise"), []),
        (None, [("speculate", "off")]),
        (Speculation(4, "noise"), [("speculate", "4")]),
        (Speculation(rule="block"), [("rule", "block")]),
        (Speculation(2, "token", timed=True), [("speculate", "2"), ("rule", "token"), ("timed", "1")]),
    ],
)
def test_a_link_carries_speculation_where_it_is_not_the_usual(
    family: Family, speculation: Speculation | None, carried: list[tuple[str, str]]
) -> None:
    link = Link("Hi", (("", plain("large")),), Decoding(speculation=speculation))
    assert read(encode(link))[5:] == carried
    assert decode(read(encode(link)), family) == link


def test_names_that_are_settings_are_told_apart() -> None:
    policy = Policy("large", "small", {"beta": 1.0, "p": 0.5, "label": 0.25})
    text = encode_column("", policy)
    assert text == "large:small:~beta=1:~p=0.5:~label=0.25:beta=1"


def test_an_address_without_a_comparison_is_left_alone(family: Family) -> None:
    assert decode([("__theme", "dark"), ("view", "api")], family) is None


def test_a_link_without_prompt_sets_columns_and_runs_nothing(family: Family) -> None:
    link = decode([("column", "large")], family)
    assert link is not None
    assert link.prompt == ""


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([("column", "large:small:helpful=-1")], "negative one reverses"),
        ([("column", "large:small:helpful=3")], "0 (off) to 2"),
        ([("column", "large:small:helpful=nan")], "must be a number"),
        ([("column", "large:small:helpful=" + "9" * 400)], "not a number"),
        ([("column", "large:small:helpful=1:helpful=1")], "twice"),
        ([("column", "huge:small:helpful=1")], "no size 'huge'"),
        ([("column", "large:large:harmless=1")], "no 'harmless' of size 'large'"),
        ([("column", "large:small:wicked=1")], "no behaviour 'wicked'"),
        ([("column", "large:small:helpful=1:beta=-1")], "amplification"),
        ([("column", "large:small:helpful=1:p=0.1")], "filter p"),
        ([("column", "large:helpful=1")], "no fine-tuning size"),
        ([("column", "")], "cannot be read"),
        ([("column", "a:b:c:d")], "cannot be read"),
        ([("column", "large")] * (MAX_COLUMNS + 1), "at most"),
        ([("temperature", "hot")], "not a number"),
        ([("temperature", "9")], "above 2"),
        ([("seed", "-1")], "seed"),
        ([("seed", "1.5")], "not a number"),
        ([("length", "100000")], "from 1 to 512"),
        ([("prompt", "a"), ("prompt", "b")], "twice"),
        ([("speculate", "fast")], "off, adaptive, or a draft length"),
        ([("speculate", "-1")], "off, adaptive, or a draft length"),
        ([("speculate", "9" * 400)], "not a number"),
        ([("speculate", "0")], "use 1 to 16"),
        ([("speculate", "17")], "use 1 to 16"),
        ([("rule", "lossy" * 100)], "no acceptance rule: use block"),
        ([("speculate", "off"), ("rule", "lossy")], "no acceptance rule"),
        ([("timed", "yes")], "neither 0 nor 1"),
        ([("rule", "block"), ("rule", "token")], "twice"),
    ],
)
def test_a_wrong_link_is_refused_with_a_sentence(family: Family, items: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]") as refused:
        decode(items, family)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_disaligned_policy_has_no_link() -> None:
    policy = Policy("large", "small", {"helpful": -1.0}, allow_disalignment=True)
    with pytest.raises(ValueError, match="not exported"):
        encode(Link("Hi", (("", policy),)))


def test_a_prompt_too_long_for_an_address_gets_none() -> None:
    assert encode(Link("x" * MAX_LINK, (("", plain("large")),))) == ""


def test_weights_of_zero_need_not_be_carried(family: Family) -> None:
    label, policy = decode_column("small:small:helpful=1", family)
    assert (label, policy) == ("", replace(tuned("helpful", "small")))
