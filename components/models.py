"""The Models tab: the family's members, where they lie, and what the default comparison needs of memory."""

import gradio as gr

from eft_core.config import Request
from eft_core.families import Family, default_columns
from eft_core.policy import Member
from eft_core.session import Session

_ESCAPES = {ord(character): f"\\{character}" for character in "\\`*_{}[]<>()#+-.!|~$"}


def models_tab(session: Session) -> None:
    """Build the tab."""
    family = session.family
    gr.Markdown(f"{plan_sentence(session)}\n\n{table(family)}", elem_id="models", sanitize_html=True)


def plan_sentence(session: Session) -> str:
    """The memory plan of the default columns, or why there is none."""
    policies = tuple(policy for _, policy in default_columns(session.family))
    try:
        return _text(f"The default comparison needs {session.plan(Request.compare('Plan', policies))}")
    except ValueError as error:
        return _text(f"No memory plan: {error}")


def table(family: Family) -> str:
    """Roles by size as a Markdown table; a dash where the family has no such checkpoint."""
    rows = [f"| {_text(family.title)} | {' | '.join(_text(size) for size in family.sizes)} |"]
    rows.append("|---" * (len(family.sizes) + 1) + "|")
    for behaviour in (None, *family.behaviours):
        cells = [_cell(family, Member(size, behaviour)) for size in family.sizes]
        rows.append(f"| {_text(behaviour or 'base')} | {' | '.join(cells)} |")
    notes = [_text(text) for text in (family.description, family.licence, family.note) if text]
    return "\n".join(rows) + "\n\n" + "\n\n".join(notes)


def _cell(family: Family, member: Member) -> str:
    if member not in family.checkpoints:
        return "–"
    place = family.checkpoints[member]
    name = place.location.rsplit("/", 1)[-1] if place.local else place.location
    return _text(name) if place.present() else f"{_text(name)}, not here"


def _text(text: str) -> str:
    """Text that Markdown shows as it is."""
    return text.translate(_ESCAPES)
