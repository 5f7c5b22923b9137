"""The page in a real browser: Debian's chromium, driven by Playwright, against tiny random models."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving import HOSTILE, served, write_example

PROMPT = "What is the capital of Kenya?"


@pytest.fixture(scope="module")
def address(sessions: Any, families_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    example = write_example(tmp_path_factory.mktemp("page") / "example.json", sessions("llama"), text=HOSTILE)
    with served(families_file, example) as address:
        yield address


def texts(page: Any, selector: str = ".card .text") -> list[str]:
    return page.locator(selector).all_text_contents()


def ask(page: Any, prompt: str) -> None:
    page.fill("#prompt textarea", prompt)
    page.click("#run")


def finished(page: Any) -> None:
    page.wait_for_function("""() => {
        const status = document.querySelector('.status');
        return status.dataset.kind === 'error' || status.textContent.startsWith('Finished');
    }""")
    assert page.locator(".status").text_content().startswith("Finished"), page.locator(".status").text_content()


def drawing(page: Any) -> None:
    """Wait until a column of this run, not of the example, has tokens."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-state=running] .text')].some(e => e.textContent)"
    )


def status(page: Any, text: str) -> None:
    """Wait until the status line contains a text."""
    page.wait_for_function("text => document.querySelector('.status').textContent.includes(text)", arg=text)


def test_the_first_paint_is_a_real_example(visit: Any) -> None:
    page = visit()
    assert page.locator(".echo").text_content() == f"Example, press Run to compute it here: {PROMPT}"
    assert page.locator("#prompt textarea").input_value() == PROMPT
    labels = ["Large base", "Small tuned", "Up-scaled", "Large tuned"]
    assert texts(page, ".card h2") == labels
    assert texts(page) == [f"{HOSTILE} {label}" for label in labels]
    assert texts(page, ".card .formula")[2] == "base(large) + [helpful − base](small)"
    assert page.evaluate("window.hacked") is None


def test_a_comparison_streams_into_all_columns(visit: Any) -> None:
    page = visit()
    page.evaluate("""() => {
        window.seen = [...document.querySelectorAll('.card .text')].map(() => new Set());
        new MutationObserver(() => document.querySelectorAll('.card .text').forEach(
            (text, i) => window.seen[i].add(text.textContent.length)
        )).observe(document.querySelector('.columns'), {subtree: true, childList: true, characterData: true});
    }""")
    ask(page, "[slow] " + PROMPT)
    finished(page)
    steps = page.evaluate("window.seen.map(lengths => lengths.size)")
    assert len(steps) == 4
    assert all(count > 3 for count in steps), f"the text came in {steps} steps"
    assert all(texts(page))
    assert all(" tok · " in count for count in texts(page, ".card .count"))
    assert set(texts(page, ".card .note")) <= {"ended", "length reached", "context full"}
    assert page.locator(".echo").text_content() == "[slow] " + PROMPT


@pytest.mark.parametrize("query", ["", "?speculate=off", "?speculate=3&rule=block"], ids=["adaptive", "off", "fixed"])
def test_stop_stops_and_keeps_the_text(visit: Any, query: str) -> None:
    page = visit(query)
    ask(page, "[slow] " + PROMPT)
    drawing(page)
    page.click("#stop")
    status(page, "Stopped")
    kept = texts(page)
    assert any(kept)
    assert texts(page, ".card .note").count("stopped") > 0
    ask(page, PROMPT)  # the session is free again
    finished(page)
    assert texts(page) != kept


def test_speculation_shows_the_accepted_share_and_keeps_the_text(visit: Any) -> None:
    query = "?prompt=What%20now&temperature=0.8&seed=3&length=60&speculate="
    plainly, page = visit(query + "off"), visit(query + "4")
    finished(plainly)
    finished(page)
    assert texts(page) == texts(plainly)
    assert plainly.locator(".share:visible").count() == 0
    share = page.locator("[data-role=emulated] .share")
    assert re.fullmatch(r"\d+% accepted", share.text_content())
    assert re.search(r"^Finished in [\d.]+ s · \d+ tokens/s", page.locator(".status").text_content())
    details = page.locator("[data-role=emulated] .details")
    assert not details.is_visible()
    share.focus()
    assert details.is_visible()
    said = texts(page, "[data-role=emulated] .details span")
    assert [line.split(" ")[0] for line in said[:1]] == ["Drafter:"]
    assert re.search(r"[\d.]+ tokens a cycle", said[1])
    assert re.search(r"Accepted by place: \d+(, \d+)* %", said[2])
    page.keyboard.press("Escape")
    assert not details.is_visible()


def test_timing_both_ways_is_said_and_gives_the_measured_gain(visit: Any) -> None:
    page = visit()
    page.locator("#decoding button").first.click()
    page.get_by_label("Time both ways").check()
    page.evaluate("""() => {
        window.said = [];
        const note = records => records.forEach(each => each.addedNodes.forEach(node => said.push(node.data)));
        new MutationObserver(note).observe(document.querySelector('.status'), {childList: true});
    }""")
    ask(page, PROMPT)
    finished(page)
    said = page.evaluate("window.said")
    assert "Timing plain decoding first" in said
    assert re.search(r" · \d+ tokens/s · plain \d+ · gain \d+\.\d\dx", said[-1])


def test_controls_of_speculation_that_have_no_part_are_greyed(visit: Any) -> None:
    page = visit()
    page.locator("#decoding button").first.click()
    length, rule = page.get_by_label("number input for Draft length"), page.get_by_label("Block", exact=True)
    assert (length.is_enabled(), rule.is_enabled()) == (False, True)
    page.get_by_label("Fixed", exact=True).check()
    page.wait_for_function("() => !document.querySelector('[aria-label=\"number input for Draft length\"]').disabled")
    page.get_by_label("Off", exact=True).check()
    page.wait_for_function("() => document.querySelector('[aria-label=\"number input for Draft length\"]').disabled")
    assert not rule.is_enabled()
    ask(page, PROMPT)
    finished(page)
    assert "speculate=off" in page.url
    assert page.locator(".share:visible").count() == 0


def test_a_rule_that_draws_anew_makes_sampled_answers_stale(visit: Any) -> None:
    page = visit("?prompt=Hi&temperature=0.9&length=8")
    finished(page)
    page.locator("#decoding button").first.click()
    page.get_by_label("Fixed", exact=True).check()
    page.wait_for_function("() => !document.querySelector('[aria-label=\"number input for Draft length\"]').disabled")
    assert "settings changed, press Run" not in texts(page, ".card .note")
    page.get_by_label("Block", exact=True).check()
    page.wait_for_function("() => document.querySelector('.card').dataset.state === 'stale'")


def test_a_second_run_ends_the_first_and_the_newest_wins(visit: Any) -> None:
    page = visit()
    ask(page, "[slow] first")
    drawing(page)
    ask(page, "second")
    page.wait_for_function("() => document.querySelector('.echo').textContent === 'second'")
    finished(page)
    assert all(texts(page))


def test_a_run_that_does_not_fit_is_told_its_place_and_can_be_stopped(visit: Any) -> None:
    other, page = visit(), visit()
    ask(other, "[slow] first")
    drawing(other)
    ask(page, "second")
    status(page, "Queued: 1 comparison runs before yours")
    page.keyboard.press("Escape")
    status(page, "Stopped")
    ask(page, "third")
    finished(page)
    assert page.locator(".echo").text_content() == "third"


def test_hostile_text_stays_text(visit: Any) -> None:
    page = visit()
    prompt = "[hostile] <script>hacked=1</script>${window.hacked=1}{{hacked=1}} \0 \u202e\u0645\u0631\u062d 😀"
    ask(page, prompt)
    finished(page)
    assert all(text.startswith(HOSTILE) for text in texts(page))
    assert prompt[:60] in page.locator(".echo").text_content()
    assert page.locator(".board script, .board img").count() == 0
    page.locator("#panel textarea").press_sequentially(HOSTILE[:40])
    page.wait_for_function("text => document.querySelector('#panel-title').textContent === text", arg=HOSTILE[:40])
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("  ", "The prompt is empty"),
        ("x" * 100_000, "shorten it"),
        ("word " * 400, "the models read"),
        ("[broken]", "RuntimeError"),
    ],
    ids=["empty", "huge", "context", "fault"],
)
def test_what_cannot_be_answered_is_said_and_the_old_answers_stay(visit: Any, prompt: str, says: str) -> None:
    page = visit()
    before = texts(page)
    ask(page, prompt)
    status(page, says)
    assert page.locator(".status").get_attribute("role") == "alert"
    assert texts(page) == before


@pytest.mark.parametrize(
    ("seed", "says"),
    [("-5", "Seed = -5 is outside"), ("1.5", "not a whole number"), ("9" * 20, "Seed = 1e+20 is outside")],
)
def test_a_wrong_number_is_said(visit: Any, seed: str, says: str) -> None:
    page = visit()
    page.locator("#decoding button").first.click()
    page.get_by_label("Seed").fill(seed)
    status(page, says)
    page.click("#run")
    status(page, says)


def test_columns_are_added_edited_and_removed(visit: Any) -> None:
    page = visit()
    page.click("[data-act=add]")
    page.wait_for_selector(".card:nth-child(5)")
    harmless = page.get_by_label("number input for Harmless")
    harmless.fill("0.4")
    harmless.press("Enter")
    formula = "base(large) + [helpful − base](small) + 0.4·[harmless − base](small)"
    page.wait_for_function(
        "text => document.querySelector('.card:nth-child(5) .formula').textContent === text", arg=formula
    )
    page.click(".card:nth-child(3) .name")
    page.wait_for_function("() => document.querySelector('.card:nth-child(3)').hasAttribute('data-selected')")
    page.wait_for_function("() => document.querySelector('[aria-label=\"number input for Harmless\"]').value === '0'")
    page.click(".card:nth-child(1) .remove")
    page.wait_for_selector(".card:nth-child(5)", state="detached")
    assert texts(page, ".card h2") == ["Small tuned", "Up-scaled", "Large tuned", "Up-scaled"]
    ask(page, PROMPT)
    finished(page)
    assert all(texts(page))


def test_an_answer_of_other_settings_is_marked_stale(visit: Any) -> None:
    page = visit()
    beta = page.get_by_label("number input for Amplification")
    beta.fill("1.5")
    beta.press("Enter")
    page.wait_for_function("() => document.querySelector('.card:nth-child(3)').dataset.state === 'stale'")
    assert texts(page, ".card .note") == ["ended", "ended", "settings changed, press Run", "ended"]
    ask(page, PROMPT)
    finished(page)
    assert "settings changed, press Run" not in texts(page, ".card .note")


def set_temperature(page: Any, value: str) -> None:
    """Type it until the answers are stale: on a busy machine gradio may draw the opened section once more."""
    from playwright.sync_api import TimeoutError as Late

    temperature = page.get_by_label("number input for Temperature")
    for wait in (5_000, 10_000, 30_000):
        temperature.fill(value)
        temperature.press("Enter")
        try:
            page.wait_for_function("() => document.querySelector('.card').dataset.state === 'stale'", timeout=wait)
            return
        except Late:
            temperature.fill("0.1")
    raise AssertionError("the answers never became stale")


def test_a_link_reproduces_a_comparison(visit: Any) -> None:
    page = visit("?__theme=dark")
    page.locator("#decoding button").first.click()
    set_temperature(page, "0.8")
    ask(page, PROMPT)
    finished(page)
    query = "?" + urlsplit(page.url).query
    assert "temperature=0.8" in query
    assert "column=large:small:helpful=1:beta=1" in query
    assert query.endswith("&__theme=dark")
    other = visit(query)
    finished(other)
    assert texts(other) == texts(page)
    assert texts(other, ".card .formula") == texts(page, ".card .formula")
    assert other.locator("#prompt textarea").input_value() == PROMPT
    other.locator("#decoding button").first.click()
    assert other.get_by_label("number input for Temperature").input_value() == "0.8"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?prompt=Hi&column=large:small:helpful=-1", "negative one reverses"),
        ("?prompt=Hi&column=huge", "no size 'huge'"),
        ("?prompt=Hi&seed=%3Cscript%3E", "not a number"),
        ("?prompt=Hi&speculate=fast", "off, adaptive, or a draft length"),
    ],
)
def test_a_wrong_link_is_refused_and_not_run(visit: Any, query: str, says: str) -> None:
    page = visit(query)
    status(page, says)
    status(page, "Nothing was run.")
    assert page.locator(".echo").get_attribute("data-example") is not None


def test_the_page_is_driven_by_keyboard_alone(visit: Any) -> None:
    page = visit()
    page.focus("#prompt textarea")
    page.keyboard.press("Control+A")
    page.keyboard.type("[slow] keys")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.echo').textContent === '[slow] keys'")
    page.keyboard.press("Escape")
    status(page, "Stopped")
    page.keyboard.press("Control+A")
    page.keyboard.type("again")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("() => document.querySelector('.echo').textContent === 'again'")
    finished(page)
    page.focus(".card:nth-child(2) .name")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('#panel-title').textContent === 'Small tuned'")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Remove Small tuned"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_every_control_has_a_name(visit: Any) -> None:
    """A name for a screen reader."""
    page = visit()
    nameless = page.evaluate("""() => [...document.querySelectorAll('#compare :is(button, textarea, input)')]
        .filter(node => !(node.textContent.trim() || node.getAttribute('aria-label') || node.closest('label')
            || (node.labels && node.labels.length)))
        .map(node => node.outerHTML)""")
    assert nameless == []


@pytest.mark.parametrize("width", [390, 1024, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_width_scrolls_sideways(visit: Any, width: int, scheme: str) -> None:
    page = visit(width=width, scheme=scheme)
    ask(page, "word" * 40)
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(13, 17, 23)" if scheme == "dark" else "rgb(255, 255, 255)")


def test_on_a_phone_the_settings_are_a_drawer(visit: Any) -> None:
    page = visit(width=390)
    assert not page.locator("#panel").is_visible()
    page.click(".card:nth-child(2) .name")
    page.wait_for_function("() => document.activeElement.closest('#panel') !== null")
    page.wait_for_function("() => document.querySelector('#panel-title').textContent === 'Small tuned'")
    page.wait_for_function("() => document.querySelector('#panel').getBoundingClientRect().right <= innerWidth")
    page.keyboard.press("Escape")
    page.wait_for_selector("#panel", state="hidden")
    assert page.evaluate("document.activeElement.textContent") == "Small tuned"


def test_an_example_prompt_is_one_click_away(visit: Any) -> None:
    page = visit()
    page.click("#examples button >> nth=0")
    page.wait_for_function("() => document.querySelector('#prompt textarea').value.includes('independent')")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.echo').textContent.includes('independent')")
    finished(page)


def test_the_models_tab_shows_members_and_plan(visit: Any) -> None:
    page = visit()
    page.get_by_role("tab", name="Models").click()
    page.wait_for_selector(".own table")
    shown = page.locator("#models-tab").text_content()
    assert "llama-small-harmless" in shown
    assert " of cache on cpu" in shown
    assert "SmolLM2" in shown


def test_private_handlers_survive_what_they_are_sent(visit: Any, address: str) -> None:
    """A visitor can post anything to any event (ECOSYSTEM.md 1.2): the page goes on."""
    page = visit()
    events = page.evaluate("window.gradio_config.dependencies.map(each => [each.id, each.inputs.length])")
    for number, inputs in events:
        for value in (None, -1e308, HOSTILE, [HOSTILE], {"a": 1}):
            body = {"fn_index": number, "data": [value] * inputs, "session_hash": "stranger", "event_data": value}
            page.request.post(f"{address}gradio_api/queue/join", data=json.dumps(body))
    ask(page, PROMPT)
    finished(page)
    assert page.evaluate("window.hacked") is None
