"""assets/families.toml: every family that researchers ask for is there, complete, and honest about what is unknown."""

import re
from typing import Any

import pytest

from eft_core.families import BUILT_IN, read_families
from eft_core.family import Family, default_columns
from eft_core.hardware import comparison_bytes
from eft_core.memory import size
from eft_core.policy import Member, up_scale
from eft_core.prompting import Prompt, encode

FAMILIES = read_families(BUILT_IN)
README = (BUILT_IN.parents[1] / "README.md").read_text(encoding="utf-8")
REAL = {name: family for name, family in FAMILIES.items() if name != "atlas"}
ASKED = {
    "smollm2", "qwen2.5", "qwen3", "llama-1", "llama-2", "llama-3", "tinyllama", "falcon", "falcon3", "olmo-2",
    "pythia", "gemma-2", "gemma-3", "granite-4",
}  # fmt: skip
OWN_TEMPLATES = ("llama-1", "falcon", "pythia")
each = pytest.mark.parametrize("family", REAL.values(), ids=REAL)


def billions(name: str) -> float | None:
    """What a size's name says of it."""
    found = re.fullmatch(r"([\d.]+)([mb])", name)
    return float(found[1]) / (1000 if found[2] == "m" else 1) if found else None


def test_atlas_is_first_and_every_family_of_the_list_is_there() -> None:
    assert next(iter(FAMILIES)) == "atlas"
    assert set(REAL) == ASKED


@each
def test_a_family_says_what_it_is_and_may_be_used_for(family: Family) -> None:
    assert family.title
    assert family.licence
    assert family.sources
    assert family.description.endswith(".")
    assert all(sentence.endswith(".") for sentence in family.unconfirmed)


@each
def test_every_size_has_a_base_and_parameters_that_fit_its_name(family: Family) -> None:
    assert list(family.parameters) == list(family.sizes)
    assert list(family.parameters.values()) == sorted(family.parameters.values())
    for name, count in family.parameters.items():
        assert Member(name) in family.checkpoints
        named = billions(name)
        assert named is None or 0.8 < count / named < 1.7, f"{name} has {count}"


@each
def test_the_default_comparison_up_scales_and_is_one_that_the_family_has(family: Family) -> None:
    columns = default_columns(family)
    assert [label for label, _ in columns][2] == "Up-scaled"
    for _, policy in columns:
        family.check(policy)


@each
def test_checkpoints_are_hub_ids_each_in_one_role(family: Family) -> None:
    assert not any(place.local for place in family.checkpoints.values())
    places = [place.location for place in family.checkpoints.values()]
    assert len(set(places)) == len(places)


@each
def test_what_asks_for_consent_says_where_and_how(family: Family) -> None:
    gated = ("meta-llama/", "google/", "tiiuae/falcon-180B")
    asks = any(place.location.startswith(gated) for place in family.checkpoints.values())
    if asks:
        assert "https://huggingface.co/" in family.gating
        assert "HF_TOKEN" in family.gating
    elif family.name != "llama-1":  # mirrors, of weights that Meta grants on request
        assert family.gating == ""


@pytest.mark.parametrize(
    ("name", "sizes", "behaviour"),
    [
        ("llama-1", ("7b", "13b", "33b", "65b"), "chat"),
        ("llama-2", ("7b", "13b", "70b"), "chat"),
        ("falcon", ("7b", "40b", "180b"), "instruct"),
    ],
)
def test_the_papers_families_are_complete(name: str, sizes: tuple[str, ...], behaviour: str) -> None:
    family = FAMILIES[name]
    assert family.sizes == sizes
    family.check(up_scale(sizes[-1], "7b", behaviour))
    assert len(default_columns(family)) == 4  # the large tuned one, to compare with, is there too


def test_the_papers_large_tuned_models_are_there() -> None:
    """33B Vicuna, 70B chat, 180B chat (Mitchell et al. 2023, section 4)."""
    for name, largest, behaviour in (
        ("llama-1", "33b", "chat"),
        ("llama-2", "70b", "chat"),
        ("falcon", "180b", "instruct"),
    ):
        assert Member(largest, behaviour) in FAMILIES[name].checkpoints


def test_stages_of_olmo_2_are_behaviours_of_their_own_at_every_size() -> None:
    family = FAMILIES["olmo-2"]
    assert family.behaviours == ("sft", "dpo", "instruct")
    assert all(family.behaviours_of(name) == family.behaviours for name in family.sizes)


def test_helpful_and_hh_tunings_of_pythia_are_not_mixed_up() -> None:
    family = FAMILIES["pythia"]
    assert family.behaviours == ("helpful-sft", "helpful-dpo", "hh-sft", "hh-dpo")
    for member, place in family.checkpoints.items():
        half, _, method = (member.behaviour or "").partition("-")
        assert half in place.location
        assert place.location.endswith(method)


def test_tinyllama_steers_the_bases_of_llama_2_themselves() -> None:
    small, large = FAMILIES["tinyllama"], FAMILIES["llama-2"]
    for name in large.sizes:
        assert small.checkpoint(Member(name)) == large.checkpoint(Member(name))


@each
def test_the_memory_of_the_default_comparison_is_known_before_a_download(family: Family) -> None:
    columns = [policy for _, policy in default_columns(family)]
    members = {member for policy in columns for member in policy.members()}
    expected = sum(family.parameters[member.size] for member in members) * 2e9
    assert comparison_bytes(family, 2) == pytest.approx(expected)


@each
def test_the_readmes_table_says_what_the_file_says(family: Family) -> None:
    large, small = family.default_pretrain, family.default_finetune
    memory = f"{large}, {small}: {size(comparison_bytes(family, 2) or 0)}"
    consent = "asked for" if family.gating else "open"
    cells = (f"`{family.name}`", ", ".join(family.sizes), ", ".join(family.behaviours), family.licence, consent, memory)
    assert f"| {' | '.join(cells)} |" in README


def test_thinking_is_off_where_the_template_knows_it() -> None:
    assert FAMILIES["qwen3"].template == {"enable_thinking": False}


@pytest.mark.parametrize("name", OWN_TEMPLATES)
def test_a_template_of_our_own_shows_system_prompt_and_earlier_turns(name: str, tokenizer: Any) -> None:
    prompt = Prompt("And of Peru?", "Be brief.", (("What is the capital of Kenya?", "Nairobi."),))
    text = tokenizer.decode(encode(tokenizer, prompt, arguments=FAMILIES[name].template))
    parts = ("Be brief.", "What is the capital of Kenya?", "Nairobi.", "And of Peru?")
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert text.endswith(":")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-1", "the user's questions. USER: Hi ASSISTANT:"),
        ("falcon", "User: Hi\nAssistant:"),
        ("pythia", "\n\nHuman: Hi\n\nAssistant:"),
    ],
)
def test_a_template_of_our_own_is_the_format_that_the_models_were_tuned_with(
    name: str, expected: str, tokenizer: Any
) -> None:
    text = tokenizer.decode(encode(tokenizer, "Hi", arguments=FAMILIES[name].template))
    assert text.endswith(expected)


@pytest.mark.parametrize("name", OWN_TEMPLATES)
def test_a_plain_base_stops_where_the_next_question_would_begin(name: str, tokenizer: Any) -> None:
    prompt = Prompt("Two?", turns=(("One?", "First."),))
    text = tokenizer.decode(encode(tokenizer, prompt, arguments=FAMILIES[name].template))
    after = text[text.index("First.") :]
    assert any(stop in after for stop in FAMILIES[name].base_stop or ())
