"""The line at the top: the name, and three quiet chips for family, device and queue."""

from html import escape

import gradio as gr

from eft_core.families import Family

# board.js writes into #chip-queue. The chips are filled in by gradio as ${value}: plain innerHTML, so escaped here.
_TEMPLATE = '<div class="head"><h1>EFT Lab</h1><div class="chips">${value}</div></div>'


def header(family: Family, device: str) -> None:
    """Build the line."""
    gr.HTML(chips(family.title, device), html_template=_TEMPLATE, js_on_load=None, apply_default_css=False)


def chips(family: str, device: str) -> str:
    """The chips as HTML."""
    texts = (("chip-family", family), ("chip-device", device), ("chip-queue", "queue free"))
    return "".join(f'<span class="chip" id="{name}">{escape(text)}</span>' for name, text in texts)


def source_link(space: str | None) -> None:
    """A link to the app's own source, where it has a public one: on a Space. The API's link is gradio's own."""
    if space:
        address = f"https://huggingface.co/spaces/{escape(space, quote=True)}/tree/main"
        gr.HTML(f'<p class="foot"><a href="{address}">Source</a></p>', js_on_load=None, apply_default_css=False)
