"""Token strips as one HTML file that opens offline from disk: style, script and data inside, nothing fetched.

Texts of visitors and models are in the file as data only, escaped so that no parser of HTML meets a bracket, and reach
the page as text nodes. The policy of the page lets run what is hashed here and nothing else.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

ASSETS = Path(__file__).parent.parent / "assets"

# What closes a script element or a line of JavaScript, or begins an entity, in a form that JSON reads back.
_ESCAPES = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}

_STYLE = """
body { margin: 0 auto; max-width: 1680px; padding: 12px clamp(14px, 3vw, 24px) 48px; background: var(--ground);
  color: var(--ink); font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
.head h1 { margin: 0; font-size: 18px; font-weight: 650; letter-spacing: -.01em; overflow-wrap: anywhere; }
.prompt { margin: 8px 0 12px; max-width: 72ch; font-weight: 600; overflow-wrap: anywhere; white-space: pre-wrap; }
.layer { position: relative; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr));
  gap: 12px; margin: 12px 0; }
.card { --role: var(--role-base); min-width: 0; padding: 10px 14px; border: solid var(--line);
  border-width: 3px 1px 1px; border-top-color: var(--role); border-radius: 6px; }
.card[data-role=tuned] { --role: var(--role-tuned); }
.card[data-role=emulated] { --role: var(--role-emulated); border-color: var(--role); }
.card[data-role=reference] { --role: var(--role-reference); border-style: solid dashed dashed; }
.card[data-role=harmless] { --role: var(--role-harmless); }
.card h2 { margin: 0; font-size: 16px; line-height: 1.4; overflow-wrap: anywhere; }
.card .formula { margin: 2px 0 8px; font-size: 13px; line-height: 1.5; color: var(--muted); overflow-wrap: anywhere; }
.card .text { max-width: 72ch; }
body.dark { color-scheme: dark; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
"""

_BODY = """
<header class="head"><h1></h1></header>
<p class="prompt" dir="auto"></p>
<main class="layer">
<div class="tools"></div>
<div class="columns"></div>
<div class="shifts"></div>
<div class="live"></div>
</main>
"""

_SCRIPT = """
const data = JSON.parse(document.querySelector('#data').textContent);
const find = (name) => document.querySelector(name);
const night = matchMedia('(prefers-color-scheme: dark)');
const dress = () => document.body.classList.toggle('dark', night.matches);
night.addEventListener('change', dress);
dress();
find('h1').textContent = data.title;
find('.prompt').textContent = data.prompt;
const [tools, shifts, layer, live] = ['.tools', '.shifts', '.layer', '.live'].map(find);
const strips = tokenStrips({ tools, shifts, layer, live });
data.documents.forEach((each, key) => {
  const card = document.createElement('article');
  card.className = 'card';
  card.dataset.role = each.role;
  const [label, formula, text] = [['h2', ''], ['p', 'formula'], ['div', 'text']].map(([tag, name]) => {
    const made = document.createElement(tag);
    made.className = name;
    card.append(made);
    return made;
  });
  label.textContent = each.label;
  formula.textContent = each.formula;
  find('.columns').append(card);
  strips.column(key, text, { label: each.label, role: each.role }).append(each);
});
"""


def script() -> str:
    """The strip's script: its parts in order, inside one function, so that `tokenStrips` is their only name outside."""
    parts = "\n".join(_asset(f"strip/{file.name}") for file in sorted((ASSETS / "strip").glob("*.js")))
    return f"const tokenStrips = (() => {{\n{parts}\nreturn tokenStrips;\n}})();\n"


def page(documents: Sequence[Mapping[str, object]], title: str, prompt: str) -> str:
    """The file's text. Each document is a trace document (schema eft-lab/trace/1) with "label" and "role" besides."""
    style = "\n".join(_asset(name) for name in ("palette.css", "strip.css")) + _STYLE
    code = script() + _SCRIPT
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(code)}'; "
    policy += "base-uri 'none'; form-action 'none'"
    data = {"title": title, "prompt": prompt, "documents": [dict(document) for document in documents]}
    head = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{style}</style>\n</head>\n<body>{_BODY}",
        f'<script type="application/json" id="data">{_json(data)}</script>',
        f"<script>{code}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(head)


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
