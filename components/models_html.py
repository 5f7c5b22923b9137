"""The Models tab as HTML: the page's own family, the doctor's report, and what goes on. Pure.

gradio shows these values as they are (ECOSYSTEM.md 1.5), so every text that is not ours goes through `escape`.
"""

from collections.abc import Iterable, Sequence
from html import escape

from components.models_adding import Found
from components.models_facts import DeviceFacts, FamilyFacts, MemberFacts, counted
from eft_core.doctor import Finding, Report
from eft_core.doctoring import HEADINGS, lines
from eft_core.memory import size

MEMBER_HEADS = ("Role", "Size", "Files", "Memory", "Parameters", "Weights", "Device", "Checkpoint")
_NUMBERS = ("Parameters", "Weights", "Tokens", "Logits", "Padding")
_MOST_EVIDENCE = 40  # sentences of one member
_KEYS = (
    '<ul class="keys" aria-hidden="true"><li class="loaded">in memory</li><li class="weights">weights to come</li>'
    '<li class="cache">cache</li><li>left</li></ul>'
)
MARKS = {"good": "good", "later": "later", "bad": "wrong"}


# --- the page's own family


def family_html(facts: FamilyFacts, refusal: str, downloads: bool) -> str:
    """The page's own family. `refusal`: why this visitor may change nothing, "" if they may."""
    family = facts.family
    terms = " · ".join(filter(None, (f"Licence: {family.licence}" if family.licence else "", family.gating)))
    about = "".join(f"<p>{escape(text)}</p>" for text in (family.description, terms) if text)
    tools = "" if refusal else _tools(facts, downloads and facts.missing > 0)
    return (
        f'<div class="bar"><h2 dir="auto">{escape(family.title)}</h2>{tools}</div><div class="about">{about}</div>'
        f"{_quiet(refusal)}{_members(facts.members)}{_plan(facts)}"
    )


def _tools(facts: FamilyFacts, downloads: bool) -> str:
    name = facts.family.name
    made = [
        button("Load", "load", name, "The members of the default comparison come into memory."),
        button("Unload", "unload", name, "Its members leave the memory.", not facts.loaded),
    ]
    if downloads:
        made.append(
            button(
                f"Download {facts.missing} missing",
                "download",
                name,
                "Members of the default comparison, from the Hub.",
            )
        )
    return f'<div class="tools">{"".join(made)}</div>'


def button(text: str, act: str, family: str, hint: str, disabled: bool = False) -> str:
    """A button whose act and family assets/families/acts.js sends."""
    data = f'data-act="{act}" data-family="{escape(family)}" title="{escape(hint)}"'
    return f'<button type="button" class="quiet" {data}{" disabled" if disabled else ""}>{escape(text)}</button>'


def _members(members: Sequence[MemberFacts]) -> str:
    """All members, those of a role together."""
    roles: dict[str, list[MemberFacts]] = {}
    for each in members:
        roles.setdefault(each.member.behaviour or "base", []).append(each)
    bodies = (_role(name, group) for name, group in roles.items())
    return _table("Members", MEMBER_HEADS, "".join(bodies))


def _role(name: str, members: Sequence[MemberFacts]) -> str:
    kind = "base" if members[0].member.behaviour is None else "tuned"
    head = f'<th scope="rowgroup" rowspan="{len(members)}" data-role="{kind}">{escape(name)}</th>'
    rows = (f"<tr>{head if not number else ''}{_member(each)}</tr>" for number, each in enumerate(members))
    return f"<tbody>{''.join(rows)}</tbody>"


def _member(facts: MemberFacts) -> str:
    count = "–" if facts.parameters is None else f"{'≈ ' if facts.published else ''}{counted(facts.parameters)}"
    weights = "–" if facts.weights is None else f"{'≈ ' if facts.published else ''}{size(facts.weights)}"
    bad = " data-bad" if facts.here else ""  # files that are here and cannot be used
    trouble = f'<span class="trouble"{bad}>{escape(facts.remedy)}</span>' if facts.remedy else ""
    cells = (
        ("here" if facts.here else "missing", "here" if facts.here else "not here"),
        ("loaded" if facts.loaded else "", "in memory" if facts.loaded else "–"),
        ("number", count),
        ("number", f"{weights}{' shared' if facts.shared else ''}"),
        ("", f"{escape(facts.device)}, {escape(facts.format)}"),
        ("where", f'<span class="place" dir="ltr">{escape(facts.place)}</span>{trouble}'),
    )
    row = "".join(f'<td class="{kind}">{text}</td>' for kind, text in cells)
    return f'<th scope="row">{escape(facts.member.size)}</th>{row}'


def _plan(facts: FamilyFacts) -> str:
    """What the default comparison takes, device by device, or why there is no plan."""
    shown = "".join(map(_device, facts.devices)) + (_KEYS if facts.devices else "")
    if facts.estimate is not None:
        shown = f"<p>About {size(facts.estimate)} of weights, by the published sizes.</p>"
    trouble = f'<p class="bad">{escape(facts.refusal)}</p>' if facts.refusal else ""
    return f'<div class="plan"><h3>Default comparison</h3>{shown}{trouble}</div>'


def _device(facts: DeviceFacts) -> str:
    whole = max(facts.room, facts.needed, 1) + facts.loaded
    parts = (("loaded", facts.loaded), ("weights", facts.weights - facts.loaded), ("cache", facts.cache))
    spans = "".join(f'<span class="{name}" style="width:{100 * part / whole:.2f}%"></span>' for name, part in parts)
    loaded = f", {size(facts.loaded)} of them in memory" if facts.loaded else ""
    text = (
        f"{size(facts.weights)} of weights{loaded}, and {size(facts.cache)} of cache on {facts.device}; "
        f"{size(facts.room)} may be taken."
    )
    return f'<p>{escape(text)}</p><div class="meter" aria-hidden="true">{spans}</div>'


def _quiet(text: str) -> str:
    return f'<p class="readonly">{escape(text)}</p>' if text else ""


# --- the doctor


def report_html(report: Report, left_out: Sequence[str]) -> str:
    """The doctor's report, its evidence below. `left_out`: members that are not on this machine."""
    heads = (*HEADINGS[:2], "Tokenizer", *HEADINGS[2:])
    rows = (
        (member, verdict, finding.kind, *rest)
        for (member, verdict, *rest), finding in zip(lines(report), report.findings, strict=True)
    )
    ends = ", ".join(map(str, sorted(report.end_ids))) or "no id of all"
    shared = f"All share the ids 0 to {report.width - 1:,} of {report.reference}; answers end by {ends}."
    missing = f"Not examined, for they are not on this machine: {', '.join(left_out)}." if left_out else ""
    body = "".join(_finding_row(heads, row) for row in rows)
    return (
        f"<p>{escape(shared)}</p>{_quiet(missing)}{_table('Vocabulary', heads, f'<tbody>{body}</tbody>')}"
        f'<h3>Evidence</h3><dl class="evidence">{"".join(map(_evidence, report.findings))}</dl>'
    )


def _finding_row(heads: Sequence[str], row: Sequence[str]) -> str:
    kinds = [' class="number"' if head in _NUMBERS else "" for head in heads]
    kinds[1] = f' class="verdict" data-verdict="{escape(row[1])}"'
    cells = "".join(f"<td{kind}>{escape(text)}</td>" for kind, text in list(zip(kinds, row, strict=True))[1:])
    return f'<tr><th scope="row">{escape(row[0])}</th>{cells}</tr>'


def _evidence(finding: Finding) -> str:
    more = len(finding.evidence) - _MOST_EVIDENCE
    sentences = [*finding.evidence[:_MOST_EVIDENCE], *([f"and {more:,} more"] if more > 0 else [])]
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    told = f"<strong>{escape(finding.verdict)}</strong>: {escape(finding.reason)}"
    return f"<dt>{escape(finding.member)}</dt><dd>{told}{f'<ul>{items}</ul>' if items else ''}</dd>"


def trouble_html(text: str) -> str:
    """A sentence that says what is wrong."""
    return f'<p class="bad">{escape(text)}</p>'


# --- what goes on


def going_html(text: str, bar: str = "") -> str:
    """What goes on now, with a bar and the button that stops it."""
    return f'<p class="status">{escape(text)}</p>{bar}<button type="button" class="quiet" data-act="halt">Stop</button>'


def steps_html(done: int, total: int) -> str:
    """A bar of `total` members, of which `done` are in memory and the next one comes."""
    states = ("done" if step < done else "now" if step == done else "next" for step in range(total))
    spans = "".join(f'<span data-state="{state}"></span>' for state in states)
    values = f'aria-valuemin="0" aria-valuemax="{total}" aria-valuenow="{done}"'
    return f'<div class="steps" role="progressbar" aria-label="Members in memory" {values}>{spans}</div>'


def share_html(share: float) -> str:
    """A bar of a share."""
    return f'<progress class="share" max="1" value="{share:.4f}" aria-label="Downloaded"></progress>'


def over_html(text: str, bad: bool = False) -> str:
    """What came of it, in one sentence; nothing for none."""
    return f'<p class="status" data-kind="{"error" if bad else "done"}">{escape(text)}</p>' if text else ""


# --- a new family


def found_html(found: Sequence[Found], text: str, bad: bool = False) -> str:
    """Outcomes of a check, and a sentence about them all."""
    rows = "".join(map(_found, found))
    return f'<p class="status" data-kind="{"error" if bad else "done"}">{escape(text)}</p><ol class="found">{rows}</ol>'


def _found(one: Found) -> str:
    cells = (("about", one.about), ("mark", MARKS[one.mark]), ("text", one.text))
    spans = "".join(f'<span class="{name}">{escape(text)}</span>' for name, text in cells)
    return f'<li data-mark="{one.mark}">{spans}</li>'


# --- tables


def _table(label: str, heads: Iterable[str], bodies: str) -> str:
    """A table in a box that scrolls by itself; `bodies` is HTML."""
    made = "".join(f'<th scope="col"{_number(head)}>{escape(head)}</th>' for head in heads)
    return (
        f'<div class="box" tabindex="0" role="region" aria-label="{escape(label)}">'
        f"<table><thead><tr>{made}</tr></thead>{bodies}</table></div>"
    )


def _number(head: str) -> str:
    return ' class="number"' if head in _NUMBERS else ""
