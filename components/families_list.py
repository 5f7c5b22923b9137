"""All families that the page knows, as HTML: what they are, what they need, what of it is not confirmed. Pure."""

from collections.abc import Sequence
from html import escape

from components.models_facts import Listed
from components.models_html import button
from eft_core.family import Family
from eft_core.memory import size


def families_html(families: Sequence[Listed], dtype: str, manage: bool, downloads: bool = False) -> str:
    """A list entry a family; sizes are told in `dtype`. `downloads`: files can be brought from the Hub."""
    hint = f"Sizes with the memory of one member's weights in {dtype}."
    entries = "".join(_family(each, manage, downloads) for each in families)
    return f'<p class="hint">{escape(hint)}</p><ul class="list">{entries}</ul>'


def _family(one: Listed, manage: bool, downloads: bool) -> str:
    family = one.family
    title = escape(family.title)
    head = title if one.opened else f'<a href="{escape(one.address)}">{title}</a>'
    facts = [
        ("Behaviours", ", ".join(family.behaviours) or "none"),
        ("Licence", "; ".join(filter(None, (family.licence or "not stated", _gating(family))))),
        ("Note", one.note),
    ]
    sizes = f'<dt>Sizes</dt><dd class="sizes">{"".join(_size(*pair) for pair in one.sizes.items())}</dd>'
    rows = sizes + "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts if text)
    doubts = "".join(f"<li>{escape(sentence)}</li>" for sentence in family.unconfirmed)
    unconfirmed = f'<dt class="doubt">Not confirmed</dt><dd class="doubt"><ul>{doubts}</ul></dd>' if doubts else ""
    about = f"<p>{escape(family.description)}</p>" if family.description else ""
    return (
        f'<li class="family"{" data-here" if one.here else ""}><div class="head"><h3 dir="auto">{head}</h3>'
        f'<p class="state">{_state(one)}</p>{_tools(one, downloads) if manage else ""}</div>'
        f'<div class="what">{about}<dl>{rows}{unconfirmed}</dl></div></li>'
    )


def _gating(family: Family) -> str:
    """What a download asks for; nothing where there is none to be made."""
    local = all(place.local for place in family.checkpoints.values())
    return family.gating or ("" if local else "open download")


def _state(one: Listed) -> str:
    """Where it is: open, on this machine, in memory."""
    here = f"{one.here} of {one.total} checkpoints here" if one.here else "not on this machine"
    words = ["open now" if one.opened else "", here, f"{one.loaded} in memory" if one.loaded else ""]
    return "".join(f"<span{_kind(word)}>{word}</span>" for word in words if word)


def _kind(word: str) -> str:
    return ' class="loaded"' if word.endswith("in memory") else ""


def _tools(one: Listed, downloads: bool) -> str:
    """What may be done with it."""
    name = one.family.name
    made = []
    if one.here:
        made.append(button("Load", "load", name, "The members of its default comparison come into memory."))
    elif downloads:
        made.append(button("Download", "download", name, "Members of its default comparison, from the Hub."))
    if one.loaded:
        made.append(button("Unload", "unload", name, "Its members leave the memory."))
    if one.added:
        made.append(button("Remove", "remove", name, "Forget this family; its files stay where they are."))
    return f'<div class="tools">{"".join(made)}</div>' if made else ""


def _size(name: str, weights: int | None) -> str:
    """A size, with the memory of one member."""
    return f"<span><b>{escape(name)}</b>{'' if weights is None else f' {size(weights)}'}</span>"
