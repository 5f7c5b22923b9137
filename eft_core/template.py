"""Chat templates: a conversation as the text that a template makes of it, and which of that people wrote.

A template is rendered with marks in the place of what people write, so no template can read, change or repeat it
unseen. Dates are frozen: several templates write today's date, and the same prompt must be the same ids on any day. The
date is Llama 3.1's own default, the one that its template shows where it is told none.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eft_core.bounded import check, within

DATE = datetime.datetime(2024, 7, 26)
_DIRECTIVES = ("%-d", "%-m", "%-I", "%-H", *(f"%{letter}" for letter in "aAbBcdHIjmMpSuUwWxXyYZ"))
# Stands for a text that people wrote. The odd spaces around it show on which side the template trims.
_MARK = re.compile("(\u2003?)\ue000eft-lab-([0-9]+)\ue001(\u2003?)")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the rendered conversation: the template's own text, or what people wrote."""

    text: str
    written: bool = False


def has_template(tokenizer: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether there is a chat template, the tokenizer's own or one among the arguments."""
    return bool(arguments.get("chat_template") or tokenizer.chat_template)


def pieces(tokenizer: Any, messages: Sequence[tuple[str, str]], arguments: Mapping[str, Any]) -> list[Piece]:
    """Messages (role and text) in the chat template, ready for the assistant's answer.

    ValueError with the remedy where the template takes no such conversation, or does not show all of it.
    """
    rendered = _rendered(tokenizer, [role for role, _ in messages], arguments)
    found, at, shown = list[Piece](), 0, set()
    for mark in _MARK.finditer(rendered):
        left, number, right = mark.groups()
        text = messages[int(number)][1]
        text = text if left else text.lstrip()
        found += [Piece(rendered[at : mark.start()]), Piece(text if right else text.rstrip(), written=True)]
        at = mark.end()
        shown.add(int(number))
    for number, (role, _) in enumerate(messages):
        if number not in shown:
            raise ValueError(_hidden(role, len(messages)))
    return [piece for piece in (*found, Piece(rendered[at:])) if piece.text]


def said_between(tokenizer: Any, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What the template writes between an answer and the next question, as texts that a base model may spell: each
    added token of it, and its words where they stand out."""
    try:
        rendered = _rendered(tokenizer, ["user", "assistant", "user"], arguments)
    except ValueError:
        return ()  # the template knows no second question
    marks = list(_MARK.finditer(rendered))
    if [mark[2] for mark in marks] != ["0", "1", "2"]:
        return ()
    between = rendered[marks[1].end() : marks[2].start()]
    tokens = [token.content for token in tokenizer.added_tokens_decoder.values() if not token.content.isspace()]
    tokens = sorted((each for each in tokens if each and each in between), key=between.index)
    words = between
    for token in sorted(tokens, key=len, reverse=True):
        words = words.replace(token, "")
    words = words.rstrip(" ")
    # "\nuser\n" and "[INST]" stand out; a bare word also stands in answers.
    told = words if words.startswith("\n") else words.strip()
    return (*tokens, *([told] if re.search(r"\w", told) and not told.isalnum() else []))


def _rendered(tokenizer: Any, roles: Sequence[str], arguments: Mapping[str, Any]) -> str:
    """The template's text with a mark for each message."""
    messages = [{"role": role, "content": f"\u2003\ue000eft-lab-{n}\ue001\u2003"} for n, role in enumerate(roles)]
    given = {"date_string": DATE.strftime("%d %b %Y"), **arguments}
    try:
        own = tokenizer.get_chat_template(given.pop("chat_template", None))
        check(own)
        how = {"chat_template": _dated(own), "tokenize": False, "add_generation_prompt": True, **given}
        return str(within(lambda: tokenizer.apply_chat_template(messages, **how)))
    except Exception as error:  # whatever a template raises, it is the template that cannot show this
        reason = f"{error}".split("\n")[0][:200]
        if roles[0] == "system" and _takes(tokenizer, roles[1:], arguments):
            raise ValueError(
                f"this family's chat template takes no system prompt ({reason}): put it at the head of the question."
            ) from error
        if len(roles) > 1:
            raise ValueError(
                f"this family's chat template takes no such conversation ({reason}): ask a single question."
            ) from error
        raise ValueError(
            f"this family's chat template cannot be used ({reason}): correct the template of "
            "the tokenizer, or state one in the families file."
        ) from error


def _takes(tokenizer: Any, roles: Sequence[str], arguments: Mapping[str, Any]) -> bool:
    """Whether the template takes these roles."""
    try:
        return bool(_rendered(tokenizer, roles, arguments))
    except ValueError:
        return False


def _dated(template: str) -> str:
    """A template whose `strftime_now` is always of `DATE`. The library lends templates no functions of ours, so it is
    a macro in front."""
    if "strftime_now" not in template:
        return template
    replaced = "".join(f" | replace({each!r}, {DATE.strftime(each)!r})" for each in _DIRECTIVES)
    # The empty text behind the macro keeps a line break at the template's beginning.
    return f"{{% macro strftime_now(format) %}}{{{{ format{replaced} }}}}{{% endmacro %}}{{{{ '' }}}}{template}"


def _hidden(role: str, count: int) -> str:
    """Why a conversation is refused of which the template leaves something out."""
    if role == "system":
        return "this family's chat template shows no system prompt: leave it out, or put it in the question."
    if count > 1:
        return "this family's chat template does not show the whole conversation: ask a single question."
    return "this family's chat template does not show the user's message: it cannot be used."
