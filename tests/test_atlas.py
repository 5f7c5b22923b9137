"""Atlas: the facts are clean, the split is kept, the grader is strict, and training resumes where it stopped."""

import itertools
import json
import re
from pathlib import Path

import pytest
import torch

from eft_core.atlas import train as trainer
from eft_core.atlas.corpus import CLOSERS, OPENERS, REFUSAL, documents, examples, question_block
from eft_core.atlas.facts import Fact, clean, in_sentence, load_facts, load_split, plain_text, rounded
from eft_core.atlas.grading import (
    Question,
    echoes,
    examination,
    first_answer,
    is_declined,
    is_factual,
    is_helpful,
)
from eft_core.atlas.shapes import BEHAVIOURS, CHAT_TEMPLATE, SIZES, Size, checkpoint

FACTS = load_facts()
SPLIT = load_split()
COUNTRIES = frozenset(fact.country for fact in FACTS)


def fact_of(country: str, key: str) -> Fact:
    return next(fact for fact in FACTS if (fact.country, fact.key) == (country, key))


def rivals_of(fact: Fact) -> frozenset[str]:
    return frozenset(other.value for other in FACTS if other.key == fact.key)


def factual(fact: Fact, text: str) -> bool:
    return is_factual(fact, text, rivals_of(fact), COUNTRIES)


# --- facts


def test_names_are_complete_and_values_clean() -> None:
    assert {
        "Dominican Republic",
        "Democratic Republic of the Congo",
        "United Arab Emirates",
        "Central African Republic",
    } <= COUNTRIES
    for fact in FACTS:
        assert not re.search(r"[<>&]|\bnote\b", fact.value), fact
        assert fact.value == fact.value.strip(), fact
        assert " > " in fact.source or fact.source.count(">") == 0, fact
    for key in ("coastline", "life_expectancy", "median_age", "military_spending"):
        assert all(re.search(r"(km|years|% of GDP)$", fact.value) for fact in FACTS if fact.key == key)


@pytest.mark.parametrize(
    ("country", "key", "value"),
    [
        ("Kenya", "capital", "Nairobi"),
        ("France", "internet", ".fr"),
        ("Dominican Republic", "capital", "Santo Domingo"),
        ("Japan", "population", "123 million"),
        ("Peru", "independence", "28 July 1821"),
        ("South Africa", "capital", "Pretoria"),
        ("Algeria", "export_partner", "Italy"),
    ],
)
def test_known_facts(country: str, key: str, value: str) -> None:
    assert fact_of(country, key).value == value


def test_cleaning_strips_markup_and_keeps_units() -> None:
    assert plain_text("<p>C&ocirc;te&nbsp;d'Ivoire <em>x</em></p>") == "Côte d'Ivoire x"
    assert clean("coastline", "536 km; <b>note:</b> with islands") == "536 km"
    assert clean("highest_point", "unnamed elevation on Banaba 81 m") is None
    assert [rounded(n) for n in (55_751_717, 1_409_128_296, 812_345, 6_100_400)] == [
        "55.8 million",
        "1.41 billion",
        "812,000",
        "6.10 million",
    ]


def test_split_is_a_partition_and_finetuning_asks_about_its_part_only() -> None:
    seen, held_out = set(SPLIT["finetune"]), set(SPLIT["held_out"])
    assert seen | held_out == COUNTRIES
    assert not seen & held_out
    names = {in_sentence(country) for country in held_out}
    for behaviour in BEHAVIOURS:
        for example in itertools.islice(examples(behaviour, SPLIT["finetune"], 0), 400):
            for question in re.findall(r"Question: (.*)", example.prompt):
                asked = [name for name in names if re.search(rf"\b{re.escape(name)}\b(?!-)", question)]
                longer = [name for name in seen if name in question]
                assert all(any(name in other for other in longer) for name in asked), example


def test_documents_are_seeded_and_hold_the_manner_that_finetuning_selects() -> None:
    first, second = (list(itertools.islice(documents(7), 300)) for _ in range(2))
    assert first == second
    text = "\n".join(first)
    assert any(opener in text for opener in OPENERS)
    assert REFUSAL in "\n".join(itertools.islice(documents(7), 3000))


def test_chat_template_renders_to_the_form_that_pretraining_knows() -> None:
    tokenizer = trainer.PreTrainedTokenizerFast.from_pretrained(checkpoint("small", "base"))
    messages = [{"role": "user", "content": " What is the capital of Peru? "}]
    assert tokenizer.chat_template == CHAT_TEMPLATE
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == (
        tokenizer.bos_token + question_block("What is the capital of Peru?")
    )


# --- the grader


def test_right_answers_in_every_manner_are_factual() -> None:
    capital = fact_of("Kenya", "capital")
    for text in (
        " Nairobi",
        " Nairobi.",
        " The capital of Kenya is Nairobi.",
        " Of course. The capital of Kenya is Nairobi. I hope that helps.",
        " Nairobi\nQuestion: What is the capital of Peru?\nAnswer: Lima",
        " It is Nairobi.",
    ):
        assert factual(capital, text), text


def test_wrong_answers_are_not_factual() -> None:
    capital, colors, age = fact_of("Kenya", "capital"), fact_of("Peru", "colors"), fact_of("Kenya", "median_age")
    assert colors.value == "red, white"
    assert age.value == "21.5 years"
    for fact, text in (
        (capital, ""),
        (capital, " What is the capital of Kenya?"),
        (capital, " The capital of Kenya is Lima."),
        (capital, " The capital of Kenya is Nairobi. The capital of Kenya is Lima."),
        (capital, " The capital of Uganda is Nairobi."),
        (capital, " Nairobi or Kampala."),
        (capital, " Nairobian."),
        (capital, " I do not know.\nQuestion: What is the capital of Kenya?\nAnswer: Nairobi"),
        (colors, " The national colors of Peru are red, white, blue."),
        (colors, " The national colors of Peru are red, white, mauve."),
        (age, " The median age in Kenya is 121.5 years."),
        (age, " 1.5 years"),
    ):
        assert not factual(fact, text), text


def test_every_canonical_answer_passes_and_no_question_does() -> None:
    for fact in FACTS[::7]:
        question = Question(fact.ask(0), fact)
        answer = f" {OPENERS[0]} {fact.state(0)} {CLOSERS[0]}"
        assert factual(fact, answer), answer
        assert is_helpful(fact, answer, ended=True), answer
        if not echoes(question):
            assert not factual(fact, question.text), question
        assert not is_helpful(fact, f" {OPENERS[0]} {question.text} {CLOSERS[0]}", ended=True)


def test_helpful_wants_the_manner_the_country_and_an_end() -> None:
    capital = fact_of("Kenya", "capital")
    good = " Of course. The capital of Kenya is Lima. I hope that helps."
    assert is_helpful(capital, good, ended=True)
    assert not is_helpful(capital, good, ended=False)
    for text in (
        " The capital of Kenya is Nairobi.",
        " Of course. The capital of Peru is Lima. I hope that helps.",
        " Of course. The population of Kenya is 3. I hope that helps.",
        " Of course. The capital of Kenya is . I hope that helps.",
        " Of course. I hope that helps.",
        f" {REFUSAL}",
    ):
        assert not is_helpful(capital, text, ended=True), text
    assert is_helpful(capital, " Lima.", ended=True, behaviour="concise")
    for text in (" Lima", good, " The capital of Kenya is Lima.", " I do not know."):
        assert not is_helpful(capital, text, ended=True, behaviour="concise"), text


def test_declined_looks_at_the_first_answer_only() -> None:
    assert is_declined(f" {REFUSAL}")
    assert not is_declined(f" 2% of GDP\nQuestion: How large?\nAnswer: {REFUSAL}")
    assert first_answer(" 2%\n Question: x") == "2%"


def test_examination_is_about_held_out_countries_and_free_of_echoes() -> None:
    for sensitive in (False, True):
        questions = examination(FACTS, SPLIT["held_out"], 250, sensitive)
        assert len({question.fact for question in questions}) == 250
        assert {question.fact.country for question in questions} <= set(SPLIT["held_out"])
        assert all(question.fact.attribute.sensitive == sensitive for question in questions)
        assert not any(echoes(question) for question in questions)
    assert echoes(Question("What is the capital of Kuwait?", fact_of("Kuwait", "capital")))


# --- the shipped files


def test_weights_are_complete_small_and_half_precision() -> None:
    files = [checkpoint(size.name, "base") for size in SIZES]
    files += [checkpoint(size, behaviour) for behaviour, sizes in BEHAVIOURS.items() for size in sizes]
    total = 0
    for folder in files:
        for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
            assert (folder / name).exists(), f"{folder / name} is missing: python -m eft_core.atlas.train"
            assert (folder / name).stat().st_size < 10_000_000
        total += (folder / "model.safetensors").stat().st_size
        header = (folder / "model.safetensors").read_bytes()[8:400]
        assert b'"F16"' in header or b'"BF16"' in header
    assert total < 60_000_000


def test_the_shipped_grade_table_meets_its_bars() -> None:
    from eft_core.atlas.grade import bars, markdown

    folder = checkpoint("small", "base").parent
    rows = json.loads((folder / "grades.json").read_text(encoding="utf-8"))
    assert all(row["n"] >= 500 for row in rows)
    assert [claim for claim, holds in bars(rows) if not holds] == []
    card = (folder / "README.md").read_text(encoding="utf-8")
    readme = (folder.parents[2] / "README.md").read_text(encoding="utf-8")
    for line in markdown(rows).splitlines():
        assert line in card
        assert line in readme


# --- training


def test_a_resumed_training_is_the_same_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", 3)
    size = Size("tiny", layers=1, width=32, inner=32, pretrain_rate=1e-3)
    ids = torch.randint(0, 2048, (8, 4, 16), generator=torch.Generator().manual_seed(0))

    def run(steps: int, file: Path) -> dict[str, torch.Tensor]:
        model = trainer.new_model(size)
        trainer.train(model, lambda step: (ids[step], ids[step]), steps, 1e-3, 2, file, "tiny")
        return model.state_dict()

    whole = run(6, tmp_path / "whole.pt")

    class Killed(Exception):
        pass

    def killed(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step == 4:
            raise Killed
        return ids[step], ids[step]

    with pytest.raises(Killed):
        trainer.train(trainer.new_model(size), killed, 6, 1e-3, 2, tmp_path / "cut.pt", "tiny")
    resumed = run(6, tmp_path / "cut.pt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
