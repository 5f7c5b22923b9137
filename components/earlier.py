"""The conversation so far, as the page shows it: compact, read-only, with a button that clears it.

Texts of visitors and models are escaped before gradio puts them into the page.
"""

from dataclasses import dataclass, replace
from html import escape
from typing import Any

import gradio as gr

from components.conversation import Context, Turn
from eft_core.prompting import Prompt
from eft_core.session import Session

# Characters of a text on the page, of which CSS shows the beginning, and those that a pointer finds.
_SHORT, _LONG = 400, 2000
A_SYSTEM, A_TURN = Context("?"), Context(turns=(Turn("?", "!"),))


@dataclass(frozen=True)
class Earlier:
    """The components that show a context, and keep it."""

    context: gr.State
    box: gr.Row
    said: gr.HTML
    clear: gr.Button

    @property
    def every(self) -> list[Any]:
        """What `showing` updates."""
        return [self.context, self.box, self.said]


def earlier(name: str) -> Earlier:
    """The components, unseen as long as there is nothing; style.css heads them by `name`. Clear is connected here."""
    with gr.Row(visible=False, elem_id=name, elem_classes="earlier") as box:
        said = gr.HTML(html_of(Context()), html_template=_TEMPLATE, js_on_load=None, apply_default_css=False)
        clear = gr.Button("Clear", size="sm", elem_classes="example", min_width=0, scale=0)
    made = Earlier(gr.State(Context()), box, said, clear)
    clear.click(
        lambda: showing(Context()), None, made.every, queue=False, show_progress="hidden", api_visibility="private"
    )
    return made


def system_prompt() -> tuple[gr.Accordion, gr.Textbox]:
    """The fold with the box, unseen until it is known that the family's chat template has a system role."""
    with gr.Accordion("System prompt", open=False, visible=False, elem_id="system") as fold:
        box = gr.Textbox(
            "",
            label="System prompt",
            show_label=False,
            placeholder="What every column is told before the prompt, such as: Answer in one sentence.",
            lines=2,
            max_lines=6,
        )
    return fold, box


# gradio fills it in as plain innerHTML, so it is escaped below.
_TEMPLATE = '<div class="said"><dl>${value}</dl></div>'


def showing(context: Context) -> list[Any]:
    """Updates that show a context: what is kept, the box, what is in it."""
    return [context, gr.update(visible=bool(context.messages)), html_of(context)]


def html_of(context: Context) -> str:
    """Who said what, as rows of a description list."""
    rows = []
    for who, text in context.messages:
        shown = text.strip()
        title, said = (escape(_cut(shown, most), quote=True) for most in (_LONG, _SHORT))
        rows.append(
            f'<dt title="{escape(who, quote=True)}">{escape(who)}</dt><dd dir="auto" title="{title}">{said}</dd>'
        )
    return "".join(rows)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def asked_after(context: Context) -> list[Any]:
    """Updates of Compare that show a context: the system prompt's fold and box, and the earlier turns.

    A system prompt is never hidden, whatever the template takes: it must be possible to clear it."""
    fold = gr.update(visible=True, open=True) if context.system else gr.skip()
    return [fold, context.system, *showing(replace(context, system=""))]


def unasked() -> list[Any]:
    """No update for any of these."""
    return [gr.skip()] * 5


def check_taken(session: Session, context: Context) -> None:
    """ValueError if the family's chat template does not show all of a context, or its tokenizer is not here yet."""
    session.models.encode(Prompt("?", **context.core))


def takes(session: Session, context: Context) -> bool:
    """Whether `check_taken` has nothing to say."""
    try:
        check_taken(session, context)
    except ValueError:
        return False
    return True
