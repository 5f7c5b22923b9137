"""The line at the top: the name, and three quiet chips for family, device and queue. The first one leads to the pages
of all other families (`family_pages`)."""

import re
from collections.abc import Callable, Iterable
from html import escape

import gradio as gr

from eft_core.family import Family, compared_members
from eft_core.lab import Lab

# What an address can be made of; a family of another name has no page of its own.
_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Whatever a template could take for its own: gradio fills the chips in as ${value}.
_QUOTED = {ord(character): f"&#{ord(character)};" for character in "{}$`"}
# board.js writes into #chip-queue.
_TEMPLATE = '<div class="head"><h1>EFT Lab</h1><div class="chips">${value}</div></div>'
# The list closes as menus do. Its listeners end with the page's own.
_CLOSING = """
const list = () => element.querySelector('.families[open]');
document.addEventListener('click', (event) => {
  if (list() && !list().contains(event.target)) list().open = false;
});
element.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || !list()) return;
  element.querySelector('.families summary').focus();
  list().open = false;
});
"""


def header(blocks: gr.Blocks, lab: Lab, family: Family, device: str) -> None:
    """Build the line in the Blocks under construction. Families that are added later are listed from the next load."""
    told = chips(lab, family, device)
    view = gr.HTML(told, html_template=_TEMPLATE, js_on_load=_CLOSING, apply_default_css=False)

    def listed() -> object:
        now = chips(lab, family, device)
        return gr.skip() if now == told else now

    blocks.load(listed, None, view, queue=False, show_progress="hidden", api_visibility="private")


def chips(lab: Lab, family: Family, device: str) -> str:
    """The chips as HTML."""
    texts = (("chip-device", device), ("chip-queue", "queue free"))
    plain = (f'<span class="chip" id="{name}">{_text(text)}</span>' for name, text in texts)
    return families(lab, family) + "".join(plain)


def families(lab: Lab, here: Family) -> str:
    """The family's chip, which opens a list of links to all others; what can be run on this machine comes first."""
    known = [lab.family(name) for name in lab.names()]
    ready = [family for family in known if _ready(family)]
    absent = [family for family in known if family not in ready]
    link = _linking(lab.default, here)
    return (
        f'<details class="families" id="chip-family"><summary class="chip" title="Other families">{_text(here.title)}'
        f"</summary><nav>{_group('On this machine', ready, link)}{_group('Not here yet', absent, link)}</nav></details>"
    )


def addressable(name: str) -> bool:
    """Whether a family of this name can have a page."""
    return _ADDRESS.fullmatch(name) is not None


def source_link(space: str | None) -> None:
    """A link to the app's own source, where it has a public one: on a Space. The API's link is gradio's own."""
    if space:
        address = f"https://huggingface.co/spaces/{escape(space, quote=True)}/tree/main"
        gr.HTML(f'<p class="foot"><a href="{address}">Source</a></p>', js_on_load=None, apply_default_css=False)


def _group(title: str, group: Iterable[Family], link: Callable[[Family], str]) -> str:
    items = "".join(f"<li>{link(family)}</li>" for family in group)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def _linking(default: str, here: Family) -> Callable[[Family], str]:
    """A family's link on the page of `here`: relative, since nobody knows under which address a proxy shows us."""
    root = "./" if here.name == default else "../../"

    def link(family: Family) -> str:
        text = _text(family.title)
        if family.name == here.name:
            return f'<a href="./" aria-current="page">{text}</a>'
        if family.name == default:
            return f'<a href="{root}">{text}</a>'
        if not addressable(family.name):
            return f'<span title="Its name has characters that no address takes: rename it in its file.">{text}</span>'
        return f'<a href="{root}families/{family.name}/">{text}</a>'

    return link


def _ready(family: Family) -> bool:
    """Whether all of its first comparison is here."""
    return all(family.checkpoint(member).present() for member in compared_members(family))


def _text(text: str) -> str:
    return escape(text).translate(_QUOTED)
