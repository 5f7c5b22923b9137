"""A conversation as the command line writes it: a system prompt, and earlier turns in the order of their saying.

--system "Be brief." --turn "user:Capital of Kenya?" --turn "assistant:Nairobi." "And of Peru?"
"""

import argparse
from collections.abc import Sequence

from eft_core.config import Row, Text

_ROLES = ("user", "assistant")


def add_conversation(command: argparse.ArgumentParser) -> None:
    """The options of what comes before the prompt."""
    command.add_argument("--system", metavar="TEXT", default="", help="what the model is told before the prompt")
    turns = "an earlier message, user:TEXT or assistant:TEXT in turns; may be repeated"
    command.add_argument("--turn", metavar="ROLE:TEXT", action="append", default=[], help=turns)


def turns_of(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Messages as pairs of the user's and the assistant's text. ValueError with the remedy where they do not take
    turns, or one is empty."""
    said = [text.partition(":")[::2] for text in texts]
    for number, (role, text) in enumerate(said):
        wanted = _ROLES[number % 2]
        if role != wanted or not text.strip():
            raise ValueError(
                f"--turn {texts[number]!r:.60} stands where {wanted}:TEXT must: user and assistant take turns."
            )
    if len(said) % 2:
        raise ValueError("the last --turn is the user's: add what the assistant answered, the prompt comes after it.")
    messages = [text for _, text in said]
    return tuple(zip(messages[::2], messages[1::2], strict=True))


def conversation_values(row: Row | Text) -> dict[str, object]:
    """What a document says of it beside the prompt: nothing where there is nothing."""
    system = {"system": row.system} if row.system else {}
    return system | ({"turns": [list(turn) for turn in row.turns]} if row.turns else {})


def transcript(text: Text) -> str:
    """The conversation up to a text's prompt as people read it; the prompt alone where nothing was said before."""
    said = [f"System: {text.system}"] if text.system else []
    said += [line for user, assistant in text.turns for line in (f"You: {user}", f"Assistant: {assistant}")]
    return "\n\n".join([*said, f"You: {text.prompt}"]) if said else text.prompt
