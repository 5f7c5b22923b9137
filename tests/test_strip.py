"""The token strip in a real browser, on trace documents (eft-lab/trace/1) whose numbers follow from the formula."""

import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from serving import HOSTILE

from components import scale
from eft_core.policy import Member, Policy
from eft_core.standalone import script

ASSETS = Path(__file__).parent.parent / "assets"
# id = place in it. Bytes of the euro sign, a newline, white space and a special token are among them.
TEXTS: tuple[str, ...] = (
    " Good",
    " question",
    ".",
    " The",
    " capital",
    " is",
    " Nairobi",
    " Lusaka",
    "\n",
    "\tx",
    "  two",
    "<|end|>",
)
TEXTS += ("\ufffd", "\ufffd", "\ufffd", HOSTILE)
BYTES = {12: "e2", 13: "82", 14: "ac"}
SPECIAL = {11: "<|end|>"}
UP_SCALED = Policy("large", "small", {"helpful": 1.0})
MIXED = Policy("large", "small", {"helpful": 0.5, "harmless": 0.25}, amplification=0.75)
FILTERED = Policy("large", "small", {"helpful": 1.5}, nucleus=0.9)
POLICIES = (UP_SCALED, MIXED, FILTERED, *(Policy("small", size, {"helpful": 0.5}) for size in ("small", "large")))
SENTENCE = (3, 4, 5, 6, 2, 0, 1, 7)

Law = list[float]


def log_softmax(scores: Sequence[float]) -> Law:
    most = max(scores)
    log_z = most + math.log(sum(math.exp(score - most) for score in scores))
    return [score - log_z for score in scores]


def laws(policy: Policy, members: Sequence[str], seed: int, step: int) -> dict[str, Law]:
    """A random law of every member at one place; the large ones agree with each other more than with the small."""
    found = {}
    for name in members:
        chance = random.Random(f"{seed} {step} {Member.named(name).size}")
        own = random.Random(f"{seed} {step} {name}")
        found[name] = log_softmax([chance.gauss(0, 2.5) + own.gauss(0, 1.0) for _ in TEXTS])
    return found


def combined(policy: Policy, laws: dict[str, Law]) -> list[float]:
    weights = policy.weights().items()
    return [sum(weight * laws[str(member)][v] for member, weight in weights) for v in range(len(TEXTS))]


def nucleus_edge(law: Law, p: float) -> float:
    """The log-probability of the token that completes the nucleus of mass p."""
    mass = 0.0
    for value in sorted(law, reverse=True):
        mass += math.exp(value)
        if mass >= p:
            return value
    return -math.inf


def small_law(policy: Policy, laws: dict[str, Law]) -> Law:
    return log_softmax(combined(policy.small, laws))


def policy_law(policy: Policy, laws: dict[str, Law]) -> Law:
    """The formula, with or without the filter."""
    if not policy.filtered:
        return log_softmax(combined(policy, laws))
    small = small_law(policy, laws)
    edge = nucleus_edge(small, policy.nucleus or 1.0)
    base, other = laws[f"base[{policy.pretrain}]"], laws[f"base[{policy.finetune}]"]
    inside = [
        policy.amplification * (one - two) if s >= edge else 0.0 for s, one, two in zip(small, base, other, strict=True)
    ]
    return log_softmax([s + shift for s, shift in zip(small, inside, strict=True)])


def divergence(one: Law, two: Law) -> float:
    return sum(math.exp(p) * (p - q) for p, q in zip(one, two, strict=True))


def far(one: Law, two: Law) -> float:
    return sum(abs(math.exp(p) - math.exp(q)) for p, q in zip(one, two, strict=True)) / 2


def record(policy: Policy, laws: dict[str, Law], token: int) -> dict[str, Any]:
    """What is kept of one token when every member ran, in the schema's shape with a list of one everywhere."""
    pi, small, base = policy_law(policy, laws), small_law(policy, laws), laws[f"base[{policy.pretrain}]"]
    views = {"policy": pi, "small": small, "base": base}
    moved = [math.exp(p) - math.exp(q) for p, q in zip(pi, small, strict=True)]
    up, down = moved.index(max(moved)), moved.index(min(moved))
    bottom = laws[f"base[{policy.finetune or policy.pretrain}]"]
    shift = policy.amplification * (base[token] - bottom[token]) if policy.finetune else 0.0
    tuned = sum(w * (laws[f"tuned[{b}][{policy.finetune}]"][token] - bottom[token]) for b, w in policy.pairs)
    unnormalised = combined(policy, laws)
    filtered = policy.filtered and policy.nucleus
    inside = [v for v in range(len(TEXTS)) if filtered and small[v] >= nucleus_edge(small, policy.nucleus or 1.0)]
    total = [small[v] + (policy.amplification * (base[v] - bottom[v]) if v in inside else 0) for v in range(len(TEXTS))]
    log_z = (total if filtered else unnormalised)[0] - pi[0]
    return {
        "ids": [token],
        "logprob": {"policy": [pi[token]]} | {name: [law[token]] for name, law in laws.items()},
        "rank": {view: [1 + sum(value > law[token] for value in law)] for view, law in views.items()},
        "entropy": {view: [-sum(math.exp(p) * p for p in law)] for view, law in views.items()},
        "total_variation": {"small": [far(pi, small)], "base": [far(pi, base)]},
        "divergence": {"small": [divergence(pi, small)], "base": [divergence(pi, base)]},
        "finetuning": [tuned],
        "upscaling": [shift if policy.pretrain != policy.finetune else 0.0],
        "promoted": {"ids": [up], "shift": [pi[up] - small[up]]},
        "demoted": {"ids": [down], "shift": [pi[down] - small[down]]},
        "log_z": [log_z],
        "log_z_small": [combined(policy.small, laws)[0] - small[0]],
        "threshold": [nucleus_edge(small, policy.nucleus) if filtered and policy.nucleus else None],
        "candidates": [list(range(len(TEXTS)))],
        "candidate_logprobs": {name: [law] for name, law in laws.items()},
    }


def merged(parts: Sequence[Any]) -> Any:
    """Columnar records of many tokens from those of one."""
    if isinstance(parts[0], dict):
        return {key: merged([part[key] for part in parts]) for key in parts[0]}
    return [value for part in parts for value in part]


def member_names(policy: Policy) -> list[str]:
    sizes = dict.fromkeys(size for size in (policy.pretrain, policy.finetune) if size)
    return [f"base[{size}]" for size in sizes] + [f"tuned[{name}][{policy.finetune}]" for name, _ in policy.pairs]


def document(
    policy: Policy = UP_SCALED, ids: Sequence[int] = SENTENCE, seed: int = 0, fates: str = ""
) -> dict[str, Any]:
    """A text `ids` under `policy`, with every number that the schema has, derived from random laws of the members."""
    members = member_names(policy)
    place = {name: number for number, name in enumerate(members)}
    tokens = merged([record(policy, laws(policy, members, seed, step), token) for step, token in enumerate(ids)])
    return {
        "schema": "eft-lab/trace/1",
        "policy": policy.to_dict(),
        "formula": policy.formula(),
        "members": members,
        "roles": {
            "base": place[f"base[{policy.pretrain}]"],
            "small_base": place.get(f"base[{policy.finetune}]"),
            "tuned": {name: place[f"tuned[{name}][{policy.finetune}]"] for name, _ in policy.pairs},
        },
        "tokens": tokens | {"fates": fates or "p" * len(ids)},
        "texts": {str(number): text for number, text in enumerate(TEXTS)},
        "bytes": {str(number): text for number, text in BYTES.items()},
        "special": {str(number): text for number, text in SPECIAL.items()},
    }


def harness(scheme: str = "") -> str:
    """A page of strips, with what its callbacks were told in `window.told`."""
    style = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in ("palette.css", "strip.css"))
    return f"""<!doctype html><html><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}
body {{ margin: 16px; font: 16px/1.6 system-ui, sans-serif; background: var(--ground); color: var(--ink); }}
#layer {{ position: relative; }}
#columns {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 270px), 1fr)); gap: 12px; }}
#columns > * {{ min-width: 0; border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; }}
#tools, #shifts {{ margin: 8px 0; }}</style></head>
<body class="{scheme}"><div id="layer"><div id="tools"></div><div id="columns"></div><div id="shifts"></div>
<div id="live"></div></div><button id="elsewhere">elsewhere</button><script>{script()}
window.told = [];
const named = (name) => document.getElementById(name);
const [tools, shifts, layer, live] = ['tools', 'shifts', 'layer', 'live'].map(named);
window.strips = tokenStrips({{ tools, shifts, layer, live,
  onBranch: (what) => told.push(what), onRegenerate: (what) => told.push(what) }});
window.put = (key, chunk, label = `column ${{key}}`, role = 'emulated') => {{
  let host = named(`strip-${{key}}`);
  if (!host) {{
    host = document.createElement('div');
    host.id = `strip-${{key}}`;
    const card = document.createElement('div');
    card.append(host);
    named('columns').append(card);
  }}
  const column = strips.column(key, host, {{ label, role }});
  if (chunk) column.append(chunk);
  return column;
}};
</script></body></html>"""


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Open a page of strips; at the end nothing went wrong in it, and nothing of a text ran."""
    pages, troubles = [], []
    file = tmp_path / "strips.html"

    def open_page(*documents: dict[str, Any], scheme: str = "", width: int = 1200, **options: Any) -> Any:
        file.write_text(harness(scheme), encoding="utf-8")
        page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
        pages.append(page)
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: None if request.url.startswith("file:") else troubles.append(request.url))
        page.goto(file.as_uri())
        for key, each in enumerate(documents):
            page.evaluate("([key, document]) => void put(key, document)", [key, each])
        settle(page)
        return page

    yield open_page
    for page in pages:
        assert page.evaluate("window.hacked") is None
        page.context.close()
    assert troubles == []


def settle(page: Any) -> None:
    """After the frame that gathers what was asked for."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")


def spans(page: Any, key: int = 0) -> Any:
    return page.locator(f"#strip-{key} .strip-token")


def painted(page: Any, key: int = 0) -> list[list[int] | None]:
    """The background of every span in 8 bits a channel, None where there is none."""
    colours = page.evaluate(
        """(key) => [...document.querySelectorAll(`#strip-${key} .strip-token`)].map((span) => {
            const canvas = new OffscreenCanvas(1, 1).getContext('2d');
            canvas.fillStyle = getComputedStyle(span).backgroundColor;
            canvas.fillRect(0, 0, 1, 1);
            return [...canvas.getImageData(0, 0, 1, 1).data];
        })""",
        key,
    )
    return [colour[:3] if colour[3] else None for colour in colours]


def channels(colour: str) -> list[int]:
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


def popover(page: Any) -> Any:
    return page.locator(".strip-popover")


def move(page: Any, name: str, value: float) -> None:
    """Move a slider of "What if"."""
    slider = page.locator(".strip-slider", has_text=name).locator("input")
    slider.evaluate("(range, value) => { range.value = value; range.dispatchEvent(new Event('input')); }", value)
    settle(page)


def value_of(policy: Policy, document: dict[str, Any], measure: str, i: int) -> float:
    """A measure of token i: the shift from the laws themselves, the others from the document's numbers."""
    tokens = document["tokens"]
    base = document["members"][document["roles"]["base"]]
    if measure == "shift":
        step, token = laws(policy, document["members"], 0, i), tokens["ids"][i]
        return policy_law(policy, step)[token] - small_law(policy, step)[token]
    return {
        "total_variation": tokens["total_variation"]["small"][i],
        "total_variation_base": tokens["total_variation"]["base"][i],
        "against_base": tokens["logprob"]["policy"][i] - tokens["logprob"][base][i],
        "finetuning": tokens["finetuning"][i],
        "upscaling": tokens["upscaling"][i],
        "deltas": tokens["finetuning"][i] + tokens["upscaling"][i],
        "divergence": tokens["divergence"]["small"][i],
        "divergence_base": tokens["divergence"]["base"][i],
        "logprob": tokens["logprob"]["policy"][i],
        "entropy": tokens["entropy"]["policy"][i],
    }[measure]


@pytest.mark.parametrize("policy", POLICIES, ids=Policy.formula)
@pytest.mark.parametrize("mode", scale.MODES)
def test_every_measure_has_the_colours_of_the_scale(visit: Any, mode: str, policy: Policy) -> None:
    told = document(policy)
    page = visit(told, scheme="dark" if mode == "dark" else "")
    names = [each["name"] for each in page.evaluate("strips.measures")]
    assert names == [*scale.MEASURES, "none"]
    for measure in scale.MEASURES:
        page.evaluate("(name) => { strips.measure = name; }", measure)
        for i, found in enumerate(painted(page)):
            wanted = channels(scale.colour(scale.share(value_of(policy, told, measure, i), measure), mode))
            ground = channels(scale.colour(0, mode))
            assert found is not None or max(abs(a - b) for a, b in zip(wanted, ground, strict=True)) <= 1, measure
            assert found is None or max(abs(a - b) for a, b in zip(wanted, found, strict=True)) <= 1, measure
    page.evaluate("strips.measure = 'none'")
    assert painted(page) == [None] * len(SENTENCE)


def test_titles_and_limits_are_those_of_the_python_scale(visit: Any) -> None:
    for each in visit().evaluate("strips.measures"):
        if each["name"] != "none":
            assert scale.Measure(each["title"], each["low"], each["high"], each["unit"]) == scale.MEASURES[each["name"]]


def test_the_underline_repeats_size_and_sign(visit: Any) -> None:
    page = visit(document())
    page.evaluate("strips.measure = 'shift'")
    drawn = page.evaluate(
        """() => [...document.querySelectorAll('.strip-token')].map((span) => {
            const { backgroundImage, backgroundSize } = getComputedStyle(span);
            return [span.dataset.sign, backgroundImage.startsWith('repeating'), backgroundSize.split(',')[0]];
        })"""
    )
    assert {(sign, dashed) for sign, dashed, _ in drawn} == {("up", False), ("down", True)}
    assert len({size for *_, size in drawn}) > 2


def test_texts_stay_texts_and_are_copied_as_they_are(visit: Any) -> None:
    ids = (0, 15, 8, 9, 10, 15, 1)
    page = visit(document(ids=ids))
    wanted = "".join(TEXTS[number] for number in ids)
    assert page.evaluate("put(0).text") == wanted
    assert page.locator("#strip-0").text_content() == wanted
    assert (
        page.evaluate(
            "() => { getSelection().selectAllChildren(strip0()); return String(getSelection()); "
            "function strip0() { return document.getElementById('strip-0'); } }"
        ).strip()
        == wanted.strip()
    )
    page.evaluate("() => getSelection().removeAllRanges()")
    page.evaluate("strips.select(0, 1)")
    assert HOSTILE in popover(page).locator(".strip-head").text_content()
    assert page.evaluate("document.querySelectorAll('#layer script, #layer img').length") == 0


def test_labels_and_member_names_stay_texts(visit: Any) -> None:
    page = visit()
    page.evaluate("([told, hostile]) => void put(0, told, hostile, hostile)", [document(), HOSTILE])
    page.evaluate("([told, hostile]) => void put(1, told, hostile)", [document(), HOSTILE])
    page.evaluate("strips.select(0, 1)")
    settle(page)
    assert HOSTILE in page.locator("#shifts").text_content()


def test_white_space_and_special_tokens_are_visible(visit: Any) -> None:
    page = visit(document(ids=(0, 8, 9, 10, 11)))
    assert page.locator("#strip-0 .strip-newline").text_content() == "\n"
    assert page.locator("#strip-0 .strip-tab").text_content() == "\t"
    assert page.locator("#strip-0 .strip-spaces").text_content() == "  "
    assert spans(page).nth(0).get_attribute("data-space") == ""
    assert page.locator("#strip-0 .strip-special").text_content() == "<|end|>"
    assert page.evaluate("put(0).text") == " Good\n\tx  two"


def test_bytes_are_joined_into_characters(visit: Any) -> None:
    page = visit(document(ids=(0, 12, 13, 14, 1)))
    assert spans(page).all_text_contents() == [" Good", "€", " question"]
    assert [spans(page).nth(1).get_attribute(f"data-{end}") for end in ("from", "to")] == ["1", "4"]
    page.evaluate("strips.select(0, 1)")
    for number in (2, 3, 4):
        assert f"{number} of 5, {number - 1} of its 3" in popover(page).text_content()
        page.keyboard.press("ArrowRight")
    assert "5 of 5" in popover(page).text_content()


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        ((12, 13, 0), ["⟨E2⟩", "⟨82⟩", " Good"]),
        ((13, 12, 13, 14), ["⟨82⟩", "€"]),
        ((12, 12, 13, 14, 12), ["⟨E2⟩", "€", "⟨E2⟩"]),
    ],
)
def test_bytes_that_make_no_character_are_chips(visit: Any, ids: tuple[int, ...], wanted: list[str]) -> None:
    assert spans(visit(document(ids=ids))).all_text_contents() == wanted


def cut(series: Any, start: int, stop: int) -> Any:
    if isinstance(series, dict):
        return {key: cut(value, start, stop) for key, value in series.items()}
    return series[start:stop]


def chunks(told: dict[str, Any], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """A document as the board's log tells it: the header once, the tokens in parts."""
    parts, start = [], 0
    for size in sizes:
        parts.append({"tokens": cut(told["tokens"], start, start + size)})
        start += size
    assert start == len(told["tokens"]["ids"])
    return [told | parts[0], *parts[1:]]


@pytest.mark.parametrize("sizes", [(1,) * 12, (3, 2, 7), (5, 1, 6)])
def test_a_stream_ends_as_the_whole_document(visit: Any, sizes: tuple[int, ...]) -> None:
    told = document(ids=(0, 12, 13, 14, 1, 12, 0, 8, 13, 12, 13, 14), fates="paarbpppaaar")
    page = visit(told)
    whole = page.locator("#strip-0").inner_html()
    for chunk in chunks(told, sizes):
        page.evaluate("(chunk) => void put(1, chunk)", chunk)
    settle(page)
    assert page.locator("#strip-1").inner_html() == whole
    assert page.evaluate("[put(0).length, put(0).text]") == page.evaluate("[put(1).length, put(1).text]")


def scaled(values: Any, scale: int, name: str = "") -> Any:
    if name in ("ids", "rank", "candidates", "fates") or values is None:
        return values
    if isinstance(values, dict):
        return {key: scaled(value, scale, key) for key, value in values.items()}
    return [scaled(value, scale) for value in values] if isinstance(values, list) else round(values * scale)


def test_a_stream_may_tell_whole_numbers(visit: Any) -> None:
    """With "scale" in its header, nats are whole numbers of 1/scale."""
    told = document(FILTERED)
    page = visit(told, told | {"scale": 10**8, "tokens": scaled(told["tokens"], 10**8)})
    page.evaluate("strips.measure = 'deltas'")
    assert page.locator("#strip-0").inner_html() == page.locator("#strip-1").inner_html()
    page.evaluate("strips.select(0, 3)")
    whole = popover(page).text_content()
    page.evaluate("strips.select(1, 3)")
    assert popover(page).text_content() == whole


def long(count: int) -> dict[str, Any]:
    return document(ids=[SENTENCE[step * step % len(SENTENCE)] for step in range(count)])


def test_what_is_out_of_sight_is_coloured_when_it_comes_into_sight(visit: Any) -> None:
    told = long(1200)
    page = visit(told, width=390)
    assert page.locator(".strip-block").count() == 12
    page.wait_for_timeout(300)  # the observer's first answer
    entropy = [value_of(UP_SCALED, told, "entropy", i) for i in range(1200)]
    wanted = [str(round(100 * scale.share(value, "entropy"))) for value in entropy]
    levels = "[...document.querySelectorAll('.strip-token')].map((span) => span.dataset.m ?? '0')"
    page.evaluate("() => { window.timers = setTimeout; window.setTimeout = () => 0; }")  # nothing is ever idle
    early = page.evaluate(f"() => {{ strips.measure = 'entropy'; return {levels}; }}")
    assert early[:100] == wanted[:100]
    assert early[1100:] != wanted[1100:]
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_function(f"(wanted) => {levels}.slice(1100).join() === wanted.join()", arg=wanted[1100:])
    assert page.evaluate(levels)[500:600] != wanted[500:600]
    page.evaluate("() => { window.setTimeout = timers; strips.measure = 'entropy'; }")
    page.wait_for_function(f"(wanted) => {levels}.join() === wanted.join()", arg=wanted)


def test_a_long_text_is_one_paragraph(visit: Any) -> None:
    """Its lines break where they would without blocks, and it is copied whole."""
    page = visit(long(600), width=700)
    lines = "() => [...document.querySelectorAll('.strip-token')].map((span) => span.getBoundingClientRect().bottom)"
    before = page.evaluate(lines)
    copied = "() => { getSelection().selectAllChildren(document.querySelector('.strip')); return `${getSelection()}`; }"
    assert page.evaluate(copied).strip() == page.evaluate("put(0).text").strip()
    page.evaluate(
        """() => {
            getSelection().removeAllRanges();
            for (const block of document.querySelectorAll('.strip-block')) block.replaceWith(...block.childNodes);
        }"""
    )
    assert page.evaluate(lines) == before


def test_new_tokens_leave_the_old_nodes_alone(visit: Any) -> None:
    first, second = chunks(document(), (4, 4))
    page = visit(first)
    page.evaluate("() => { window.kept = [...document.querySelectorAll('.strip-token')]; }")
    page.evaluate("(chunk) => void put(0, chunk)", second)
    same = "kept.every((span, i) => span === document.querySelectorAll('.strip-token')[i])"
    assert page.evaluate(same)
    assert spans(page).count() == 8


def test_the_keyboard_walks_tokens_and_columns(visit: Any) -> None:
    page = visit(document(), document(ids=SENTENCE[:5]))
    page.keyboard.press("Tab")
    while page.evaluate("!document.activeElement.classList.contains('strip-token')"):
        page.keyboard.press("Tab")
    focused = "document.activeElement.closest('.strip').id + ' ' + document.activeElement.dataset.from"
    seen = [page.evaluate(focused)]
    for key in ("ArrowRight", "End", "ArrowDown", "ArrowLeft", "ArrowUp", "Home", "ArrowLeft"):
        page.keyboard.press(key)
        seen.append(page.evaluate(focused))
    assert [each.removeprefix("strip-") for each in seen] == ["0 0", "0 1", "0 7", "1 4", "1 3", "0 3", "0 0", "0 0"]
    assert page.locator("[tabindex='0']").count() == 2  # one stop a strip


def test_the_focused_token_is_told(visit: Any) -> None:
    told = document()
    page = visit(told)
    page.evaluate("strips.select(0, 3)")
    tokens = told["tokens"]
    assert page.locator("#live").text_content() == (
        f"Nairobi, token 4 of 8, total variation {tokens['total_variation']['small'][3]:.2f}, "
        f"log-probability {tokens['logprob']['policy'][3]:.2f}, rank {tokens['rank']['policy'][3]}"
    )
    assert popover(page).is_visible()


def test_the_popover_lists_each_law_by_probability(visit: Any) -> None:
    told, i = document(), 3
    page = visit(told)
    page.evaluate("(i) => strips.select(0, i)", i)
    step = laws(UP_SCALED, told["members"], 0, i)
    pi = policy_law(UP_SCALED, step)
    wanted = {"Policy": pi, "Large base": step["base[large]"], "Small base": step["base[small]"]}
    wanted["Small helpful"] = step["tuned[helpful][small]"]
    titles = popover(page).locator("h3").all_text_contents()
    assert titles == ["Policy", "Large base", "Small helpful", "Small base"]
    for place, title in enumerate(titles):
        rows = popover(page).locator(".strip-list").nth(place).locator(".strip-row")
        ids = [int(row.get_attribute("data-id")) for row in rows.all()]
        law = wanted[title]
        assert ids[:10] == sorted(range(len(TEXTS)), key=lambda v: -law[v])[:10]
        assert rows.locator("xpath=self::*[@data-drawn]").get_attribute("data-id") == str(SENTENCE[i])


def test_hover_opens_and_the_pointer_reaches_the_popover(visit: Any) -> None:
    page = visit(document())
    spans(page).nth(3).hover()
    popover(page).wait_for(state="visible")
    popover(page).hover()
    page.wait_for_timeout(500)
    assert popover(page).is_visible()
    page.mouse.move(5, 890)
    popover(page).wait_for(state="hidden")
    spans(page).nth(2).hover()
    popover(page).wait_for(state="visible")
    page.keyboard.press("Escape")
    assert popover(page).is_hidden()


def test_a_pinned_popover_stays_until_it_is_unpinned(visit: Any) -> None:
    page = visit(document())
    page.evaluate("strips.select(0, 3)")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Unpin"
    page.mouse.click(5, 890)
    page.evaluate("strips.select(0, 5)")
    spans(page).nth(0).hover(force=True)
    page.wait_for_timeout(300)
    assert "4 of 8" in popover(page).text_content()
    popover(page).get_by_text("Unpin").click()
    page.keyboard.press("Escape")
    assert popover(page).is_hidden()
    assert page.evaluate("document.activeElement.dataset.from") == "3"  # back where it was opened


@pytest.mark.parametrize("index", [0, 5, 7])
@pytest.mark.parametrize("width", [390, 700, 1600])
def test_the_popover_is_never_off_the_screen(visit: Any, width: int, index: int) -> None:
    page = visit(document(ids=SENTENCE * 1), document(), document(), width=width)
    for key in range(3):
        page.evaluate("([key, index]) => strips.select(key, index)", [key, index])
        page.wait_for_timeout(150)
        box = popover(page).bounding_box()
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= 900.5


@pytest.mark.parametrize("width", [700, 1600])
def test_the_popover_is_on_the_side_with_more_room_and_leaves_the_line_alone(visit: Any, width: int) -> None:
    page = visit(long(400), width=width)
    sides = set()
    for index in range(0, 400, 37):
        page.evaluate("(index) => strips.select(0, index)", index)
        lines = page.evaluate(
            "() => [...document.querySelector('.strip-shown').getClientRects()].map(({ top, bottom }) => [top, bottom])"
        )
        top, bottom = min(line[0] for line in lines), max(line[1] for line in lines)
        box = popover(page).bounding_box()
        below = box["y"] >= bottom
        assert below or box["y"] + box["height"] <= top
        assert below == (900 - bottom >= top)
        sides.add(below)
    assert sides == ({True, False} if width == 700 else {True})


@pytest.mark.parametrize(("width", "rows"), [(390, 2), (1024, 1), (1600, 1)])
def test_the_toolbar_is_one_line_and_its_hint_moves_nothing(visit: Any, width: int, rows: int) -> None:
    page = visit(document(fates="pparbppp"), width=width)
    middle = "(all) => all.map((each) => each.getBoundingClientRect()).map(({ top, bottom }) => (top + bottom) / 2)"
    parts = page.locator(".strip-picker, .strip-legend, .strip-opener")
    middles = parts.evaluate_all(middle)
    assert len(middles) == 3
    assert len({round(place / 4) for place in middles}) == rows
    hint = page.locator(".strip-hint")
    assert hint.is_hidden()
    pick = page.locator(".strip-picker select")
    pick.hover()
    assert hint.is_visible()
    assert pick.get_attribute("aria-description") == hint.text_content()
    page.mouse.move(5, 890)
    assert hint.is_hidden()
    page.keyboard.press("Tab")
    assert hint.is_visible()
    assert parts.evaluate_all(middle) == middles
    assert hint.evaluate("(hint) => hint.getBoundingClientRect().right") <= width


def test_the_page_around_hears_no_act_of_its_own(visit: Any) -> None:
    """A board asks its server for what a button's data-act says."""
    page = visit(document())
    page.evaluate("strips.select(0, 3)")
    assert page.locator("#layer button").count() > 40
    assert page.locator("#layer [data-act]").count() == 0


def test_a_finger_opens_and_closes_it(visit: Any) -> None:
    page = visit(document(), width=390, has_touch=True, is_mobile=True)
    spans(page).nth(1).tap()
    popover(page).wait_for(state="visible")
    page.wait_for_timeout(150)
    box = popover(page).bounding_box()
    assert round(box["y"] + box["height"]) == 900  # a sheet at the bottom
    assert box["width"] == 390
    popover(page).get_by_label("Next token").tap()
    assert "3 of 8" in popover(page).text_content()
    popover(page).get_by_label("Close").tap()
    assert popover(page).is_hidden()


def test_a_candidate_branches_there(visit: Any) -> None:
    page = visit(document(ids=(0, 12, 13, 14, 1, 2)))
    page.evaluate("strips.select(0, 5)")
    popover(page).locator(".strip-row[data-id='6']").first.click()
    assert page.evaluate("told") == [{"key": 0, "tokens": [0, 12, 13, 14, 1, 6], "text": " Good€ question Nairobi"}]


def test_the_same_candidate_is_marked_in_all_lists(visit: Any) -> None:
    page = visit(document())
    page.evaluate("strips.select(0, 3)")
    popover(page).locator(".strip-row[data-drawn]").first.hover()
    marked = page.locator(".strip-row[data-same]")
    assert {row.get_attribute("data-id") for row in marked.all()} == {str(SENTENCE[3])}
    assert marked.count() == 4


def test_equal_words_are_outlined_in_all_columns(visit: Any) -> None:
    page = visit(document(), document(ids=(6, 2, 6)))
    page.evaluate("strips.select(0, 3)")
    outlined = [span.text_content() for span in page.locator(".strip-echo").all()]
    assert outlined == [" Nairobi"] * 3
    page.evaluate("strips.select(0, 4)")  # a full stop is no word
    assert page.locator(".strip-echo").count() == 0


def test_the_biggest_shifts_lead_to_their_tokens(visit: Any) -> None:
    told = document()
    page = visit(told)
    far_apart = told["tokens"]["total_variation"]["small"]
    order = sorted(range(8), key=lambda i: -far_apart[i])
    jumps = page.locator(".strip-jump")
    assert jumps.count() == min(5, sum(value >= 0.1 for value in far_apart))
    up, down = (told["tokens"][name] for name in ("promoted", "demoted"))
    first = order[0]
    assert f"▲ {abs(up['shift'][first]):.1f} over" in jumps.first.text_content()
    assert jumps.first.text_content().endswith(f"▼ {abs(down['shift'][first]):.1f}")
    jumps.first.click()
    assert page.evaluate("document.activeElement.dataset.from") == str(first)


def top(law: Law) -> int:
    return law.index(max(law))


@pytest.mark.parametrize("nucleus", [None, 0.9])
def test_what_changed_is_counted(visit: Any, nucleus: float | None) -> None:
    policy = Policy("large", "small", {"helpful": 1.0}, nucleus=nucleus)
    page = visit(document(policy))
    steps = [laws(policy, member_names(policy), 0, step) for step in range(8)]
    changed = sum(top(policy_law(policy, step)) != top(small_law(policy, step)) for step in steps)
    assert page.locator(".strip-changed").text_content() == f"{changed} of 8 tokens changed"


@pytest.mark.parametrize("nucleus", [None, 0.9])
@pytest.mark.parametrize(("weight", "beta"), [(0.25, 1.0), (1.0, 0.4), (1.5, 2.0), (0.0, 0.0)])
def test_what_if_is_the_formula_at_the_moved_weights(
    visit: Any, nucleus: float | None, weight: float, beta: float
) -> None:
    """Deltas, colours and top candidates; the filter too, for here the candidates are the whole vocabulary."""
    policy = Policy("large", "small", {"helpful": 1.0}, nucleus=nucleus)
    moved = Policy("large", "small", {"helpful": weight}, amplification=beta, nucleus=nucleus)
    told = document(policy)
    page = visit(told)
    if weight != 1.0:
        move(page, "helpful", weight)
    if beta != 1.0:
        move(page, "β", beta)
    assert page.evaluate("strips.measure") == "deltas"
    steps = [laws(policy, told["members"], 0, step) for step in range(8)]
    logprob = told["tokens"]["logprob"]
    for i, found in enumerate(painted(page)):
        large, small, tuned = (logprob[name][i] for name in ("base[large]", "base[small]", "tuned[helpful][small]"))
        share = scale.share(weight * (tuned - small) + beta * (large - small), "deltas")
        wanted = channels(scale.colour(share, "light"))
        assert max(abs(a - b) for a, b in zip(wanted, found or channels("#ffffff"), strict=True)) <= 1
    would = {i for i, step in enumerate(steps) if top(policy_law(moved, step)) != top(policy_law(policy, step))}
    marked = {int(span.get_attribute("data-from")) for span in page.locator(".strip-token[data-would]").all()}
    assert marked == would
    assert f"top candidate would change at {len(would)} of 8 tokens" in page.locator(".strip-outcome").text_content()
    for i in would:
        page.evaluate("(i) => strips.select(0, i)", i)
        assert "would be «" in popover(page).text_content()
    page.keyboard.press("Escape")
    page.get_by_text("What if").click()
    page.get_by_text("Run with these weights").click()
    assert page.evaluate("told") == [{"key": 0, "behaviours": {"helpful": weight}, "beta": beta}]
    page.get_by_text("Reset").click()
    settle(page)
    assert page.evaluate("strips.measure") == "total_variation"
    assert page.locator(".strip-token[data-would]").count() == 0


def without(told: dict[str, Any], member: str) -> dict[str, Any]:
    """The document of a run in which a member did not run, with nulls where it is needed."""
    place = told["members"].index(member)
    left = [name for name in told["members"] if name != member]
    shifted = {name: number for number, name in enumerate(left)}

    def moved(role: int | None) -> int | None:
        return None if role is None or role == place else shifted[told["members"][role]]

    roles = told["roles"]
    tokens = dict(told["tokens"])
    tokens["logprob"] = {name: series for name, series in tokens["logprob"].items() if name != member}
    tokens["candidate_logprobs"] = {name: tokens["candidate_logprobs"][name] for name in left}
    nothing = [None] * len(tokens["ids"])
    tokens |= {"finetuning": nothing, "upscaling": nothing}
    tuned = {name: moved(role) for name, role in roles["tuned"].items()}
    roles = {"base": moved(roles["base"]), "small_base": moved(roles["small_base"]), "tuned": tuned}
    return told | {"members": left, "roles": roles, "tokens": tokens}


def test_what_did_not_run_is_unknown_and_said_so(visit: Any) -> None:
    """The small tuned model by itself: its law is whole, its fine-tuning delta needs the base that did not run."""
    tuned = Policy("small", "small", {"helpful": 1.0})
    page = visit(without(document(tuned), "base[small]"), document())
    page.evaluate("strips.measure = 'finetuning'")
    assert painted(page) == [None] * 8  # quiet, for it is unknown everywhere
    assert page.locator("#strip-0").get_attribute("data-known") is None
    page.evaluate("strips.select(0, 2)")
    assert "Fine-tuning delta: base[small] did not run here" in popover(page).text_content()
    move(page, "helpful", 0.5)
    assert page.locator("#strip-0 [data-would]").count() == 0
    assert "column 1" not in page.locator(".strip-outcome").text_content()


def test_a_value_unknown_at_some_tokens_is_hatched_there(visit: Any) -> None:
    told = document()
    told["tokens"]["total_variation"]["small"][2] = None
    page = visit(told)
    assert "repeating" in spans(page).nth(2).evaluate("(span) => getComputedStyle(span).backgroundImage")
    assert "unknown" in page.locator(".strip-legend").text_content()


def test_recovered_tokens_are_marked_and_explained(visit: Any) -> None:
    page = visit(document(fates="pparbppp"))
    assert page.locator("[data-fate=recovered]").all_text_contents() == [" Nairobi"]
    assert "recovered" in page.locator(".strip-legend").text_content()
    page.evaluate("strips.select(0, 4)")
    assert "bonus" in popover(page).text_content()


def test_columns_are_cleared_renamed_and_removed(visit: Any) -> None:
    page = visit(document(), document())
    page.evaluate("strips.select(0, 3)")
    page.evaluate("put(0).clear()")
    assert popover(page).is_hidden()
    assert spans(page).count() == 0
    page.evaluate("(told) => void put(0, told)", document(ids=(6,)))
    assert page.evaluate("[put(0).length, put(0).text]") == [1, " Nairobi"]
    page.evaluate("strips.relabel(0, { label: 'Up-scaled', role: 'emulated' })")
    assert page.locator("#strip-0").get_attribute("aria-label") == "Tokens of Up-scaled"
    page.evaluate("put(0).remove(), put(1).remove(), undefined")
    settle(page)
    assert page.locator("#tools").is_hidden()
    assert page.locator("#shifts").is_hidden()
