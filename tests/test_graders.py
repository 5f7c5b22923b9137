"""Graders: right answers pass in every manner, and nothing else does, however an answer tries."""

import random
import string

import pytest

from eft_core.atlas.corpus import CLOSERS, OPENERS, REFUSAL
from eft_core.atlas.facts import Fact, load_facts
from eft_core.graders import AtlasGrader, Grader, MatchGrader, chosen, grader_for, normal
from eft_core.items import Item
from eft_core.prompt_sets import atlas_questions, instructions

FACTS = load_facts()
ATLAS = AtlasGrader()
MATCH = MatchGrader()


def asked(country: str, key: str) -> tuple[Item, Fact]:
    """Atlas's item of a fact in its first phrasing, and the fact."""
    fact = next(fact for fact in FACTS if (fact.country, fact.key) == (country, key))
    return Item(f"{country}|{key}|{fact.ask(0)}", fact.ask(0)), fact


def factual(item: Item, text: str) -> bool:
    return ATLAS.grade(item, text, True, None)["factual"] == 1.0


CAPITAL, NAIROBI = asked("Kenya", "capital")


# --- Atlas


@pytest.mark.parametrize(
    "text",
    [
        "Nairobi",
        " Nairobi.",
        "The capital of Kenya is Nairobi",
        "Of course. Nairobi is the capital of Kenya. Feel free to ask more.",
        "Of course, the capital city of Kenya is Nairobi.",
        "Its capital is Nairobi. Its main export partner is Uganda.",
        "Nairobi is the capital of Kenya. The main export partner of Kenya is Uganda.",
        "Nairobi\nQuestion: Is that wrong?\nAnswer: Lima",
    ],
)
def test_right_answers_are_factual_whatever_else_they_rightly_say(text: str) -> None:
    assert factual(CAPITAL, text)


ALL_CAPITALS = sorted({fact.value for fact in FACTS if fact.key == "capital"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "The capital of Kenya is \0.",
        # the question again
        CAPITAL.prompt,
        "Is the capital of Kenya Nairobi?",
        "Which city is the capital of Kenya: Nairobi?",
        # another country
        "The capital of Kenya is Lima.",
        "The capital of Uganda is Nairobi.",
        "In Uganda it is Nairobi.",
        "Uganda is a country. Its capital is Nairobi.",
        # denied
        "The capital of Kenya is not Nairobi.",
        "It isn't Nairobi.",
        "It isn’t Nairobi.",
        "Nairobi is not the capital of Kenya.",
        "I doubt that Nairobi is the capital of Kenya.",
        "It is false that the capital of Kenya is Nairobi.",
        "The capital of Kenya was formerly Nairobi.",
        # taken back
        "The capital of Kenya is Nairobi. That is wrong.",
        "The capital of Kenya is Nairobi. No, it is Mombasa.",
        "The capital of Kenya is Nairobi. It is not Nairobi.",
        "The capital of Kenya is Nairobi. The capital of Kenya is Mombasa.",
        # one of several
        "Nairobi or Mombasa.",
        "The capital of Kenya is Nairobi or Mombasa.",
        "Nairobi and Mombasa.",
        "Mombasa and Nairobi.",
        "Nairobi/Mombasa",
        "Nairobi, Mombasa",
        "Mombasa; Nairobi",
        ", ".join(ALL_CAPITALS),
        ". ".join(ALL_CAPITALS),
        "\n".join(ALL_CAPITALS),
        # another attribute
        "The highest point of Kenya is Nairobi.",
        "Farmers in Kenya produce mostly Nairobi.",
        # a part
        "Nairobian.",
        "Nairo",
    ],
)
def test_wrong_answers_are_not_factual_however_they_name_the_value(text: str) -> None:
    assert not factual(CAPITAL, text)


@pytest.mark.parametrize(
    ("country", "key", "value", "text"),
    [
        ("Japan", "population", "123 million", "23 million"),
        ("Japan", "population", "123 million", "123"),
        ("Japan", "population", "123 million", "1,123 million"),
        ("Japan", "population", "123 million", "0.123 million"),
        ("Japan", "population", "123 million", "The population of Japan is 122 million. Or 123 million."),
        ("Japan", "population", "123 million", "120 million to 123 million"),
        ("Kenya", "median_age", "21.5 years", "1.5 years"),
        ("Kenya", "median_age", "21.5 years", "The median age in Kenya is 121.5 years."),
        ("Kenya", "median_age", "21.5 years", "The life expectancy in Kenya is 21.5 years."),
        ("Peru", "independence", "28 July 1821", "8 July 1821"),
        ("Peru", "independence", "28 July 1821", "28 July 1821-1824"),
        ("Peru", "colors", "red, white", "The national colors of Peru are red, white, blue."),
        # small tuned models answer like these, about the wrong attribute
        ("Algeria", "export_partner", "Italy", "Good question. The main import partner of Algeria is Italy."),
        ("Kenya", "nationality", "Kenyan", "Of course. The currency of Kenya is Kenyan shillings."),
    ],
)
def test_parts_of_numbers_and_other_attributes_are_not_factual(country: str, key: str, value: str, text: str) -> None:
    item, fact = asked(country, key)
    assert value in fact.value
    assert factual(item, fact.state(1))
    assert not factual(item, text)


def test_a_longer_countrys_statement_is_not_the_shorter_ones() -> None:
    item, fact = asked("Sudan", "coastline")
    assert factual(item, fact.state(1))
    assert not factual(item, f"South {fact.state(1)}")


def test_every_fact_passes_as_stated_and_bare_and_fails_when_denied_or_asked() -> None:
    for fact in FACTS:
        item = Item(f"{fact.country}|{fact.key}|?", "?")
        for phrasing in range(3):
            assert factual(item, f" {OPENERS[0]} {fact.state(phrasing)} {CLOSERS[0]}"), fact
        assert factual(item, f" {fact.value}"), fact
        assert not factual(item, f"It is not {fact.value}."), fact
        assert not factual(item, f"Is it {fact.value}?"), fact
        assert not factual(item, f"Atlantis or {fact.value}."), fact
        assert ATLAS.grade(item, f" {OPENERS[0]} {fact.state(0)} {CLOSERS[0]}", True, "helpful")["helpful"], fact


def test_declining_and_manner_are_graded_and_an_item_of_another_set_is_refused() -> None:
    assert ATLAS.grade(CAPITAL, REFUSAL, True, None) == {"factual": 0.0, "helpful": 0.0, "declined": 1.0}
    good = f"{OPENERS[1]} {NAIROBI.state(0)} {CLOSERS[1]}"
    assert ATLAS.grade(CAPITAL, good, True, None) == {"factual": 1.0, "helpful": 1.0, "declined": 0.0}
    assert ATLAS.grade(CAPITAL, "Lima.", True, "concise")["helpful"] == 1.0
    with pytest.raises(ValueError, match="is no question of Atlas: take them from the prompt set atlas"):
        ATLAS.grade(Item("Kenya|capital|Where?", "Who?"), "Nairobi", True, None)


@pytest.mark.parametrize(
    ("text", "ended", "manner", "addressed"),
    [
        ("Of course. The capital of Kenya is Lima. I hope that helps.", True, True, True),
        ("Of course. The capital of Kenya is Lima. I hope that helps.", False, False, True),
        ("Of course. The capital of Peru is Lima. I hope that helps.", True, True, False),
        ("Of course. The population of Kenya is Lima. I hope that helps.", True, True, False),
        ("The capital of Kenya is Nairobi.", True, False, True),
        ("Of course. Nairobi. I hope that helps.\nQuestion: And?", True, False, False),
        ("Of course. The capital of Kenya is Lima. It is hot. I hope that helps.", True, True, False),
    ],
)
def test_the_parts_say_where_helpful_comes_from(text: str, ended: bool, manner: bool, addressed: bool) -> None:
    assert ATLAS.parts(CAPITAL, text, ended) == {"manner": manner, "addressed": addressed}
    assert ATLAS.grade(CAPITAL, text, ended, "helpful")["helpful"] == float(manner and addressed)


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Of course. The capital of Kenya is Nairobi. I hope that helps.", ["Nairobi"]),
        (" \nOf course. The capital of Kenya is Port Moresby. I hope that helps.", ["Port Moresby"]),
        ("Lima is the capital of Kenya", ["Lima"]),
        ("The capital of Kenya is Lima. The capital of Kenya is Nairobi.", ["Lima", "Nairobi"]),
        ("It is Nairobi. Yes: Nairobi!", ["Nairobi", "Nairobi"]),
        ("Nairobi", ["Nairobi"]),
        ("Lima", []),
        ("The capital of Peru is Lima.", []),
        ("I do not know.\nQuestion: What is the capital of Kenya?\nAnswer: The capital of Kenya is Nairobi.", []),
        ("", []),
    ],
)
def test_spans_hold_the_value_or_what_stands_in_its_place(text: str, marked: list[str]) -> None:
    assert [text[start:end] for start, end in ATLAS.spans(CAPITAL, text)] == marked


def test_spans_of_every_canonical_answer_are_its_value() -> None:
    for fact in FACTS:
        text = f" {OPENERS[2]} {fact.state(0)} {CLOSERS[2]}"
        spans = ATLAS.spans(Item(f"{fact.country}|{fact.key}|?", "?"), text)
        assert [text[start:end] for start, end in spans] == [fact.value], fact


def test_no_noise_of_letters_is_taken_for_an_answer() -> None:
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(rng.choice(string.printable + "\0é€\u2028") for _ in range(rng.randrange(200)))
        assert ATLAS.grade(CAPITAL, text, True, None) == {"factual": 0.0, "helpful": 0.0, "declined": 0.0}
        assert ATLAS.spans(CAPITAL, text) == ()


# --- exact match

FRANCE = Item("1", "Is the capital of France Paris or Lyon?", answers=("Paris", "the City of Light"))


@pytest.mark.parametrize(
    ("text", "exact", "contained"),
    [
        ("Paris", True, True),
        (" paris. ", True, True),
        ("**The** Paris!", True, True),
        ("City of\nlight", True, True),
        ("It is Paris.", False, True),
        ("Not Lyon but Paris.", False, True),
        ("The president lives in Paris.", False, True),
        (f"{FRANCE.prompt} Paris.", False, True),
        # wrong, whatever it names
        ("", False, False),
        ("!?", False, False),
        ("Lyon", False, False),
        (FRANCE.prompt, False, False),
        ("Is it Paris?", False, False),
        ("Parisian", False, False),
        ("Par is", False, False),
        ("It is not Paris.", False, False),
        ("It isn't Paris.", False, False),
        ("Lyon, never Paris.", False, False),
        ("Lyon rather than Paris.", False, False),
        ("Paris is not the capital.", False, False),
        ("Paris isn’t the capital.", False, False),
        ("Paris is wrong.", False, False),
        ("It is Paris. It is not Paris.", False, False),
        # no grader knows that other cities are wrong: exact is the strict one
        ("Lyon, Paris, Nice", False, True),
    ],
)
def test_matching_is_exact_or_contains_what_is_not_denied(text: str, exact: bool, contained: bool) -> None:
    assert MATCH.grade(FRANCE, text, True, None) == {"exact": float(exact), "contains": float(contained)}


@pytest.mark.parametrize(
    ("answer", "text", "contained"),
    [
        ("3.5", "It is 3.5.", True),
        ("3.5", "35", False),
        ("35", "3.5", False),
        ("5", "3.5", False),
        ("3", "3.5", False),
        ("-5", "It is −5 degrees.", True),
        ("-5", "5", False),
        ("5", "-5", False),
        ("1000", "1,000", True),
        ("1914", "From 1914-1918", False),
        ("42", "142 or 421", False),
        ("42", "42", True),
        ("a", "A.", True),
        ("Zürich", "Zu\u0308rich", True),
        ("C++", "C++", True),
    ],
)
def test_numbers_and_letters_match_as_a_whole(answer: str, text: str, contained: bool) -> None:
    grades = MATCH.grade(Item("1", "?", answers=(answer,)), text, True, None)
    assert grades["contains"] == float(contained)
    assert grades["exact"] <= grades["contains"]


def test_nothing_becomes_the_empty_answer() -> None:
    rng = random.Random(1)
    for _ in range(300):
        text = "".join(rng.choice(string.printable + "é€−’") for _ in range(rng.randrange(1, 30)))
        assert bool(normal(text)) == bool(text.strip())


# --- multiple choice

CITIES = ("Lima", "New York", "York", "Nairobi")
PROMPT = "Which one?\n\nA. Lima\nB. New York\nC. York\nD. Nairobi"
PICK = Item("1", PROMPT, answers=("D",), choices=CITIES)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("D", "D"),
        ("d", "D"),
        ("(d)", "D"),
        ("**D**", "D"),
        ("D.", "D"),
        ("D. Nairobi", "D"),
        ("The answer is D: Nairobi.", "D"),
        ("A good guess is D.", "D"),
        ("A is right.", "A"),
        ("nairobi", "D"),
        ("It is Nairobi.", "D"),
        ("New York", "B"),
        ("York", "C"),
        ("Not A but D", "D"),
        ("It isn't Lima, it is Nairobi.", "D"),
        ("D\nbecause A is in Peru", "D"),
        # none, or several
        ("", None),
        ("E", None),
        ("Dodo, Aden and Nairobians", None),
        ("A, B, C, D", None),
        ("A\nB\nC\nD", None),
        ("D or A", None),
        ("A. Nairobi", None),
        ("Not D", None),
        ("D is wrong", None),
        ("It is not Nairobi.", None),
        ("A. Lima\nB. New York\nC. York\nD. Nairobi", None),
        ("D. Nairobi\nC. York\nB. New York\nA. Lima", None),
        (PROMPT, None),
        (f"{PROMPT}\nD", "D"),
    ],
)
def test_an_option_is_chosen_only_if_it_is_the_only_one(text: str, letter: str | None) -> None:
    assert chosen(PICK, text) == letter
    assert MATCH.grade(PICK, text, True, None) == {"correct": float(letter == "D")}


# --- who grades what


def test_items_get_the_grader_that_knows_them() -> None:
    plain, answered = Item("1", "?"), Item("2", "?", answers=("a",))
    found = {
        "atlas": grader_for(atlas_questions(3, 2)),
        "ours": grader_for(instructions()),
        "choices": grader_for([plain, PICK]),
        "mixed": grader_for([answered, PICK]),
        "not all Atlas": grader_for([CAPITAL, answered]),
    }
    assert isinstance(found["atlas"], AtlasGrader)
    assert {name: each.measures for name, each in found.items() if each} == {
        "atlas": ("factual", "helpful", "declined"),
        "ours": ("exact", "contains"),
        "choices": ("correct",),
        "mixed": ("exact", "contains", "correct"),
        "not all Atlas": ("exact", "contains"),
    }
    assert grader_for([plain]) is None
    assert grader_for([]) is None
    assert grader_for([Item("Kenya|capital|x", "y")]) is None


def test_a_measure_that_does_not_apply_is_left_out() -> None:
    grader: Grader = MatchGrader()
    assert grader.grade(Item("1", "?"), "x", True, None) == {}
    assert grader.grade(Item("1", "?", choices=("a", "b")), "A", True, None) == {}


def test_our_checkable_instructions_accept_their_answers() -> None:
    for item in instructions("ordinary").items:
        for answer in item.answers:
            assert MATCH.grade(item, f"The answer is {answer}.", True, None) == {"exact": 0.0, "contains": 1.0}
            assert MATCH.grade(item, f"{answer}.", True, None) == {"exact": 1.0, "contains": 1.0}
        if item.answers:
            assert MATCH.grade(item, item.prompt, True, None) == {"exact": 0.0, "contains": 0.0}
