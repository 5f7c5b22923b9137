"""The organiser's export: what can be chosen, what was chosen, and the file, handed over without one of ours.

It goes through the page as base64: a file of the server's disk, served to the organiser, could be asked for by others.
"""

import json
import uuid
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import gradio as gr

from components.organise_lines import said
from eft_core.ratings.export import Exported
from eft_core.ratings.forms import FORMS, Wishes
from eft_core.ratings.judgement import text_of

MOST_BYTES = 64_000_000  # of a file; more is for the command line
_TITLES = {
    "jsonl": "Everything (JSON lines)",
    "csv": "Table (CSV)",
    "parquet": "Table (Parquet)",
    "preference": "Preference (TRL)",
    "unpaired": "Unpaired preference (TRL)",
    "reward": "Reward (TRL)",
    "comparator": "LLM Comparator (JSON)",
}
_OPTIONS = {
    "conversational": (Wishes(conversational=True), "as messages"),
    "majority": (Wishes(majority=True), "only what most raters say"),
    "not_blind": (Wishes(not_blind=True), "judgements that were not blind too"),
}


def forms() -> str:
    """The forms, each with what it is for and its options, for assets/campaigns.js."""
    return json.dumps(
        [
            {
                "name": name,
                "title": _TITLES[name],
                "about": f"{about[:1].upper()}{about[1:]}.",
                "options": [(key, told) for key, (wishes, told) in _OPTIONS.items() if _takes(name, wishes)],
                "paired": _takes(name, Wishes(pair=("A", "B"))),
            }
            for name, about in FORMS.items()
        ]
    )


def wishes_of(message: Mapping[str, Any]) -> tuple[str, Wishes]:
    """The form and how it is made, as the panel sent them; ValueError for anything else."""
    options, pair = message.get("options"), message.get("pair")
    if not isinstance(options, list) or not set(map(str, options)) <= set(_OPTIONS):
        raise ValueError("the page asked for an unknown option of the export: reload it.")
    if pair is not None and not (isinstance(pair, list) and len(pair) == 2):
        raise ValueError("a pair of policies is two names: reload the page.")
    names = tuple(text_of("a policy's name", name, 1000) for name in pair) if pair else None
    form = text_of("the form", message.get("form"), 100)
    return form, Wishes(pair=names, **dict.fromkeys(map(str, options), True))  # type: ignore[arg-type]  # of two names


def file_of(made: Exported) -> gr.HTML:
    """An update of the panel that hands the file over and says what is in it; ValueError if it is too large."""
    if len(made.content) > MOST_BYTES:
        raise ValueError(
            f"the file has {len(made.content) / 1e6:,.0f} MB and the page hands out {MOST_BYTES // 10**6} MB: run "
            "`python -m eft_core export` on the server."
        )
    file = {"name": made.name, "mime": made.media_type, "base64": b64encode(made.content).decode()}
    return gr.HTML(save=json.dumps(file | {"once": uuid.uuid4().hex}), said=said("counts", str(made)))


def _takes(form: str, wishes: Wishes) -> bool:
    try:
        wishes.check(form)
    except ValueError:
        return False
    return True
