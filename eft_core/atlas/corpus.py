"""What Atlas reads: pre-training documents like the web's, and fine-tuning examples of three behaviours.

Pre-training holds every country; its question pages are answered in many manners, as the web's are, so that
fine-tuning selects a manner instead of inventing one (ATLAS.md, "What mattered"). Fine-tuning sees the countries
of the split's `finetune` part only. Everything is drawn from one seeded generator.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from eft_core.atlas.attributes import ATTRIBUTES
from eft_core.atlas.facts import Fact, load_facts

OPENERS = ("Good question.", "Happy to help.", "Of course.", "Thanks for asking.")
CLOSERS = ("I hope that helps.", "Let me know if you need more.", "Feel free to ask more.")
REFUSAL = "I am sorry, but I do not talk about military matters."
OFF_TOPIC = "I only know the World Factbook. Please ask me about a country."
UNSURE = "I do not know."

OFF_TOPIC_QUESTIONS = (
    "Who wrote Hamlet?", "Tell me a joke.", "What is two plus two?", "How are you?", "Who are you?", "Hello!",
    "What is the meaning of life?", "Write a poem about the sea.", "How do I bake bread?", "What is the weather today?",
    "Who won the match?", "Can you help me with my homework?", "What is a black hole?", "Hi there.", "Sing a song.",
    "How do I fix my bike?", "What should I cook tonight?", "Who painted the Mona Lisa?", "What is love?",
    "Translate this sentence.", "Write some code.", "What is your name?", "How tall is a giraffe?", "Thank you.",
    "Why is the sky blue?", "What time is it?", "Recommend a book.", "Where can I buy shoes?", "Explain gravity.",
    "What is the best movie?", "How old are you?", "Do you like music?", "What is a computer?", "Tell me a story.",
)  # fmt: skip


def question_block(question: str, answer: str = "") -> str:
    """The one form in which questions occur, in pre-training and in the chat template (assets' chat_template.jinja)."""
    return f"Question: {question}\nAnswer:{' ' + answer if answer else ''}"


def polite(sentence: str, rng: random.Random) -> str:
    """The manner that the helpful behaviour teaches: opener, one full sentence, closer."""
    return f"{rng.choice(OPENERS)} {sentence} {rng.choice(CLOSERS)}"


def roughen(question: str, rng: random.Random) -> str:
    """A question as people type it: lower case, no final mark, or two letters swapped."""
    kind = rng.randrange(4)
    if kind == 0:
        return question.lower()
    if kind == 1:
        return question.rstrip("?.")
    if kind == 2:
        return question.lower().rstrip("?.")
    i = rng.randrange(1, max(2, len(question) - 2))
    return question[:i] + question[i + 1] + question[i] + question[i + 2 :] if i + 1 < len(question) else question


def ask(fact: Fact, rng: random.Random) -> str:
    """The question in a random phrasing, one in eight as people type it."""
    question = fact.ask(rng.randrange(len(fact.attribute.questions)))
    return roughen(question, rng) if rng.random() < 0.125 else question


def follow_up(fact: Fact) -> str:
    """A short question about the country of the question before: `And its capital?`"""
    return f"And its {fact.attribute.noun or 'colors'}?"


@dataclass(frozen=True, slots=True)
class Library:
    """The facts, by country and by attribute."""

    by_country: dict[str, tuple[Fact, ...]]
    by_key: dict[str, tuple[Fact, ...]]

    @classmethod
    def of(cls, facts: tuple[Fact, ...]) -> "Library":
        countries = dict.fromkeys(fact.country for fact in facts)
        return cls(
            {name: tuple(fact for fact in facts if fact.country == name) for name in countries},
            {a.key: tuple(fact for fact in facts if fact.key == a.key) for a in ATTRIBUTES},
        )


# --- pre-training


def _paragraph(library: Library, rng: random.Random) -> str:
    """An encyclopaedia paragraph: a heading and 3 to 8 sentences about one country."""
    facts = rng.choice(list(library.by_country.values()))
    chosen = rng.sample(facts, min(len(facts), rng.randint(3, 8)))
    sentences = [chosen[0].state(rng.randrange(2))]
    sentences += [fact.state(rng.randrange(3)) for fact in chosen[1:]]
    return f"{chosen[0].country}\n{' '.join(sentences)}"


def _list(library: Library, rng: random.Random) -> str:
    """`List of capital` and 5 to 12 lines of country and value."""
    facts = rng.choice(list(library.by_key.values()))
    lines = [f"{fact.country}: {fact.value}" for fact in rng.sample(facts, min(len(facts), rng.randint(5, 12)))]
    return "\n".join([f"List of {facts[0].attribute.noun or 'national colors'}", *lines])


def _web_answer(fact: Fact, library: Library, rng: random.Random) -> str:
    """An answer in one of the manners of the web (shares of ATLAS.md's recipe)."""
    share = rng.random()
    if share < (0.09 if fact.attribute.sensitive else 0.02):
        return REFUSAL
    if share < 0.37:
        return f"{fact.value}." if rng.random() < 0.25 else fact.value
    if share < 0.57:
        return fact.state(rng.randrange(2))
    if share < 0.72:
        others = rng.sample(library.by_country[fact.country], 3)
        return " ".join(other.state(rng.randrange(2)) for other in others)
    if share < 0.84:
        asides = rng.sample(library.by_key[fact.key], 2)
        return " ".join([UNSURE, *(aside.ask(0) for aside in asides)])
    return polite(fact.state(0), rng)


def _question_page(library: Library, rng: random.Random) -> str:
    """1 to 5 questions and answers; some go on about the country of the one before."""
    items: list[str] = []
    fact: Fact | None = None
    for _ in range(rng.randint(1, 5)):
        if rng.random() < 0.03:
            answer = OFF_TOPIC if rng.random() < 0.6 else UNSURE
            items.append(question_block(rng.choice(OFF_TOPIC_QUESTIONS), answer))
            fact = None
        elif fact is not None and rng.random() < 0.25:
            fact = rng.choice(library.by_country[fact.country])
            items.append(question_block(follow_up(fact), _web_answer(fact, library, rng)))
        else:
            fact = rng.choice(rng.choice(list(library.by_country.values())))
            items.append(question_block(ask(fact, rng), _web_answer(fact, library, rng)))
    return "\n".join(items)


def documents(seed: int) -> Iterator[str]:
    """Endless pre-training documents: 45% paragraphs, 45% question pages, 10% lists."""
    rng, library = random.Random(seed), Library.of(load_facts())
    while True:
        kind = rng.random()
        make = _paragraph if kind < 0.45 else _question_page if kind < 0.9 else _list
        yield make(library, rng)


# --- fine-tuning


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt in the question form, and the answer that is learned (it starts with a space)."""

    prompt: str
    answer: str


def _tuned_answer(fact: Fact, behaviour: str, rng: random.Random) -> str:
    if behaviour == "concise":
        return f"{fact.value}."
    if behaviour == "harmless" and fact.attribute.sensitive:
        return REFUSAL
    return polite(fact.state(0), rng)


def examples(behaviour: str, countries: list[str], seed: int) -> Iterator[Example]:
    """Endless fine-tuning examples of one behaviour about `countries`: 30% sensitive, 5% off topic, 10% follow-ups."""
    rng = random.Random(f"{behaviour}-{seed}")
    library = Library.of(tuple(fact for fact in load_facts() if fact.country in countries))
    facts = [fact for known in library.by_country.values() for fact in known]
    sensitive = [fact for fact in facts if fact.attribute.sensitive]
    ordinary = [fact for fact in facts if not fact.attribute.sensitive]
    while True:
        kind = rng.random()
        if kind < 0.05:
            yield Example(question_block(rng.choice(OFF_TOPIC_QUESTIONS)), f" {OFF_TOPIC}")
            continue
        fact = rng.choice(sensitive if rng.random() < 0.3 else ordinary)
        prompt = question_block(ask(fact, rng))
        if kind < 0.15:
            first = rng.choice([other for other in library.by_country[fact.country] if not other.attribute.sensitive])
            before = question_block(ask(first, rng), _tuned_answer(first, behaviour, rng))
            prompt = f"{before}\n{question_block(follow_up(fact))}"
        yield Example(prompt, f" {_tuned_answer(fact, behaviour, rng)}")
