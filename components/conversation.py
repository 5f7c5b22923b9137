"""What a prompt is asked after: the system prompt, and earlier turns, which a reply goes on from.

Pure. Texts come from browsers and addresses: all of them are checked.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from components.inputs import MAX_PROMPT, whole_text

MAX_TURNS = 32
MAX_BY = 160


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer; `by` says who gave it, a column's name and formula, or "". It is only shown: what is
    asked after equal texts is equal."""

    user: str
    assistant: str
    by: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Context:
    """A system prompt, "" for none, and earlier turns."""

    system: str = ""
    turns: tuple[Turn, ...] = ()

    @property
    def core(self) -> dict[str, Any]:
        """As the core's `Row`, `Text` and `Prompt` take it."""
        return {"system": self.system, "turns": tuple((turn.user, turn.assistant) for turn in self.turns)}

    @property
    def about(self) -> dict[str, Any]:
        """What a file or an answer of the API says of it beside the prompt: nothing where there is nothing."""
        system = {"system": self.system} if self.system else {}
        return system | ({"turns": [[turn.user, turn.assistant] for turn in self.turns]} if self.turns else {})

    @property
    def texts(self) -> list[str]:
        """All that stands before the prompt."""
        return [
            text
            for text in (self.system, *(text for turn in self.turns for text in (turn.user, turn.assistant)))
            if text
        ]

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Who said what, in order."""
        told = [("System", self.system)] if self.system else []
        return told + [
            said for turn in self.turns for said in (("You", turn.user), (turn.by or "Answer", turn.assistant))
        ]

    @property
    def note(self) -> str:
        """What there is, in a few words; "" if there is nothing."""
        count = len(self.turns)
        turns = f"after {count} earlier turn{'s' if count > 1 else ''}" if count else ""
        said = ", ".join(each for each in ("with a system prompt" if self.system else "", turns) if each)
        return f"Asked {said}" if said else ""

    def then(self, turn: Turn) -> "Context":
        """The conversation with another turn at its end; ValueError where it gets too long."""
        return _fitting(replace(self, turns=(*self.turns, turn)))

    def transcript(self, prompt: str) -> str:
        """The conversation up to a prompt as one text; without context the prompt alone."""
        said = [f"{who}: {text}" for who, text in self.messages]
        return "\n\n".join([*said, f"You: {prompt}"]) if said else prompt

    def values(self) -> dict[str, Any]:
        """As the board keeps it and sends it back; `context_of` is the inverse."""
        return {"system": self.system, "turns": [[turn.user, turn.assistant, turn.by] for turn in self.turns]}


def context_of(values: object) -> Context:
    """What a browser says of a conversation, None for none."""
    if values is None:
        return Context()
    if not isinstance(values, dict):
        raise ValueError("the conversation must be an object of system and turns: reload the page.")
    return check_context(values.get("system"), values.get("turns"))


def check_context(system: object, turns: object) -> Context:
    """A system prompt and a list of turns, each [user, assistant] or with who answered as a third; None is none."""
    told = "" if system is None else whole_text("system prompt", system)
    given = [] if turns is None else turns
    if not isinstance(given, list) or len(given) > MAX_TURNS:
        raise ValueError(f"turns must be a list of at most {MAX_TURNS} pairs of texts, the user's and the assistant's.")
    return _fitting(Context(told if told.strip() else "", tuple(map(check_turn, given))))


def check_turn(values: object) -> Turn:
    """One turn; ValueError unless it is complete."""
    if not isinstance(values, list | tuple) or not 2 <= len(values) <= 3:
        raise ValueError("a turn is a pair of texts, the user's and the assistant's: complete it.")
    user, assistant, *by = (whole_text("turn", value) for value in values)
    if not user.strip() or not assistant.strip():
        raise ValueError("a turn needs a question and an answer: complete it, or leave it out.")
    return Turn(user, assistant, " ".join("".join(by).split())[:MAX_BY])


def _fitting(context: Context) -> Context:
    """The context, if it is not too long for any model."""
    size = len(context.system) + sum(len(turn.user) + len(turn.assistant) for turn in context.turns)
    if len(context.turns) > MAX_TURNS or size > MAX_PROMPT:
        raise ValueError(
            f"The conversation has {len(context.turns)} turns and {size:,} characters, and at most {MAX_TURNS} and "
            f"{MAX_PROMPT:,} fit: clear the earlier turns."
        )
    return context
