"""A page for every family: made when asked for, served beside the default family's, closed when its family goes."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from family_pages_here import table
from serving import HOSTILE, ROOT, served, write_example

from components.header import addressable, chips
from components.inputs import Decoding
from eft_core.config import Limits, Request, Row
from eft_core.family import default_columns
from eft_core.lab import Lab
from eft_core.settings import Settings

PROMPT = "What is the capital of Kenya?"
USUAL = Decoding()
OF_EXAMPLE = Limits(60)  # what the example of the main page sets
LAYOUT = ("Tabs", "Tab", "Row", "Column", "Accordion", "Group", "Sidebar")


@pytest.fixture(scope="module")
def address(sessions: Any, families_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    example = write_example(tmp_path_factory.mktemp("pages") / "example.json", sessions("llama"))
    with served(families_file, example) as address:
        yield address


def answers(session: Any, prompt: str = PROMPT, limits: Limits = USUAL.limits) -> list[str]:
    """What the default comparison says, as a page without an example asks for it."""
    rows = tuple(Row(prompt, policy, USUAL.sampling) for _, policy in default_columns(session.family))
    return [answer.text.strip() for answer in session.ask(Request(rows, limits))]


def status(page: Any, text: str) -> None:
    """Wait until the status line contains a text."""
    page.wait_for_function("text => document.querySelector('.status').textContent.includes(text)", arg=text)


def run(page: Any, prompt: str = PROMPT) -> list[str]:
    """Run the default comparison; the texts."""
    page.fill("#prompt textarea", prompt)
    page.click("#run")
    status(page, "Finished")
    return [text.strip() for text in page.locator(".card .text").all_text_contents()]


# --- in the browser


def test_the_chip_leads_to_another_family_and_back(visit: Any, sessions: Any) -> None:
    page = visit()
    assert page.locator("#chip-family summary").text_content() == "Tiny llama"
    assert not page.get_by_role("link", name="Tiny gpt2").is_visible()
    page.focus("#chip-family summary")
    page.keyboard.press("Enter")
    listed = page.locator("#chip-family a").all_text_contents()
    assert listed[0] == "Tiny llama"
    assert listed.index("Tiny gpt2") < listed.index("Llama 2"), "what can be run here comes first"
    assert page.locator("#chip-family [aria-current]").text_content() == "Tiny llama"
    page.keyboard.press("Escape")
    assert not page.get_by_role("link", name="Tiny gpt2").is_visible()
    page.click("#chip-family summary")
    page.get_by_role("link", name="Tiny gpt2").click()
    page.wait_for_url("**/families/gpt2/")
    page.wait_for_selector(".card")
    assert page.locator("#chip-family summary").text_content() == "Tiny gpt2"
    assert "No example is stored for Tiny gpt2" in page.locator(".status").text_content()
    assert page.locator("#prompt textarea").input_value() != ""
    assert run(page) == answers(sessions("gpt2"))
    assert "/families/gpt2/?" in page.url, "the address is the comparison's"
    page.click("#chip-family summary")
    page.get_by_role("link", name="Tiny llama").click()
    page.wait_for_url(lambda url: "families" not in url)
    page.wait_for_selector(".card")
    assert run(page) == answers(sessions("llama"), limits=OF_EXAMPLE)


def test_the_header_is_as_high_as_its_name_and_the_list_stays_on_a_phone(visit: Any) -> None:
    page = visit(width=390)
    height = "document.querySelector('.head').getBoundingClientRect().height"
    before = page.evaluate(height)
    page.click("#chip-family summary")
    assert page.evaluate(height) == before < 50
    box = page.locator("#chip-family nav").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def test_visitors_of_two_families_are_served_in_turn_and_never_mixed(visit: Any, sessions: Any) -> None:
    one, two = visit(), visit("families/gpt2/")
    slow = f"{PROMPT} [slow]"
    one.fill("#prompt textarea", slow)
    one.click("#run")
    one.wait_for_function("() => [...document.querySelectorAll('[data-state=running] .text')].some(e => e.textContent)")
    two.fill("#prompt textarea", PROMPT)
    two.click("#run")
    status(two, "Queued: 1 comparison runs before yours")
    assert one.evaluate("document.body.hasAttribute('data-running')")
    status(one, "Finished")
    status(two, "Finished")
    texts = [[text.strip() for text in page.locator(".card .text").all_text_contents()] for page in (one, two)]
    assert texts == [answers(sessions("llama"), slow, OF_EXAMPLE), answers(sessions("gpt2"))]


def test_what_was_compared_on_a_familys_page_is_judged_there(visit: Any) -> None:
    page = visit("families/gpt2/")
    run(page)
    page.get_by_role("tab", name="Rate").click()
    page.locator("[data-screen=free] [data-act=free]").click()
    page.locator("[data-screen=code] [data-act=begin]").click()
    page.locator(".rate [data-screen=task]:not([hidden])").wait_for()
    assert page.locator(".rate .prompt").text_content() == PROMPT
    page.get_by_role("tab", name="Results").click()
    page.get_by_role("tab", name="Ratings").click()
    page.locator("#rating-figure, .ratings").first.wait_for()


def test_a_family_whose_weights_are_not_here_says_on_run_what_brings_them(visit: Any) -> None:
    page = visit("families/llama-2/")
    page.fill("#prompt textarea", PROMPT)
    page.click("#run")
    status(page, "eft_core download meta-llama/Llama-2-7b-chat-hf")


# --- addresses


def test_an_unknown_family_is_told_in_plain_words(address: str) -> None:
    for name in ("..%2f..", "%00", "%3Cscript%3Ealert(1)%3C/script%3E"):
        answer = httpx.get(f"{address}families/{name}/")
        assert answer.status_code == 404
        assert "<script>" not in answer.text
    for name in ("nope", "%3Cscript%3Ealert(1)", "a%20b", "x" * 3000):
        answer = httpx.get(f"{address}families/{name}/")
        assert answer.status_code == 404
        assert "no family" in answer.text
        assert "<script>" not in answer.text
        assert '<a href="/">' in answer.text
    assert httpx.get(f"{address}families/nope/config").status_code == 404
    assert httpx.get(f"{address}families/llama//example.com").status_code == 404, "no way to another host"
    assert httpx.get(f"{address}families/gpt2/organise").status_code == 404, "campaigns are organised on one page"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("families", "/"),
        ("families/", "/"),
        ("families/llama", "/"),
        ("families/llama/?a=b", "/?a=b"),
        ("families/gpt2?prompt=x%20y", "/families/gpt2/?prompt=x%20y"),
    ],
)
def test_every_page_has_one_address(address: str, written: str, meant: str) -> None:
    assert httpx.get(address + written).headers["location"] == meant


def test_behind_a_proxy_a_familys_links_have_its_name_and_its_lock(address: str) -> None:
    proxied = {"x-forwarded-proto": "https", "x-forwarded-host": "somebody-eft-lab.hf.space"}
    config = httpx.get(f"{address}families/gpt2/config", headers=proxied).json()
    assert config["root"] == "https://somebody-eft-lab.hf.space/families/gpt2"
    page = httpx.get(f"{address}families/gpt2/", headers=proxied)
    assert "x-frame-options" not in page.headers, "huggingface.co shows the page in a frame"


# --- in a process of its own


@pytest.fixture(scope="module")
def seen(families_file: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = str(tmp_path_factory.mktemp("here"))
    command = [sys.executable, str(ROOT / "tests" / "family_pages_here.py"), families_file, folder]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout.splitlines()[-1])


def test_a_family_that_is_added_has_a_page_until_it_is_removed(seen: dict[str, Any]) -> None:
    before, first, removed, running, stopped, second, third = seen["come and gone"]
    assert before == 404
    assert first
    assert removed == 404
    assert not running
    assert stopped
    assert second
    assert third, "a page belongs to its family, not to its name"


def test_a_page_is_made_once_whoever_asks_at_once(seen: dict[str, Any]) -> None:
    assert seen["at once"] == [[200] * 5, ["gpt2", "neox"]]


def test_the_server_ends_all_pages(seen: dict[str, Any]) -> None:
    assert seen["closed"] == [2, 0, 0], "opened, left, running"


def test_under_a_root_path_all_addresses_are_below_it(seen: dict[str, Any]) -> None:
    assert seen["root"] == ["/lab/families/gpt2", "/lab/families/gpt2/", "/lab/"]


# --- the chip


@pytest.fixture
def lab(families_file: str, tmp_path: Path) -> Lab:
    data = str(tmp_path / "data")
    return Lab(Settings(family="llama", families_file=families_file, device="cpu", threads=1, data_dir=data))


def test_links_are_relative_and_titles_stay_texts(lab: Lab, families_file: str) -> None:
    lab.add("mine", table(families_file, f"Mine {HOSTILE}"))
    lab.add("a/b", table(families_file, "Slash"))
    main, other = (chips(lab, lab.family(name), "cpu") for name in ("llama", "gpt2"))
    assert '<a href="./" aria-current="page">Tiny llama</a>' in main
    assert '<a href="./families/gpt2/">Tiny gpt2</a>' in main
    assert '<a href="../../">Tiny llama</a>' in other
    assert '<a href="../../families/neox/">Tiny neox</a>' in other
    assert "a/b" not in main, "no address could name it"
    assert "Slash</span>" in main
    for text in (main, other):
        assert "<script" not in text
        assert "${" not in text
        assert "{{" not in text


def test_the_chip_of_a_page_is_the_familys_own(lab: Lab) -> None:
    told = chips(lab, replace(lab.family("gpt2"), title="<b>"), "<i>")
    assert "&lt;b&gt;</summary>" in told
    assert "&lt;i&gt;" in told


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "a b", "ä", "a\n", "-a", "a?b", "a#b", "a%2fb"])
def test_odd_names_have_no_address(name: str) -> None:
    assert not addressable(name)


@pytest.mark.parametrize("name", ["atlas", "qwen2.5", "llama-3", "my_own", "7b"])
def test_usual_names_have_an_address(name: str) -> None:
    assert addressable(name)


def test_no_handler_makes_a_layout_block() -> None:
    """One that is made while another family's page is under construction would become a part of it."""
    for file in sorted((ROOT / "components").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Return | ast.Yield):
                named = [each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)]
                assert not set(named) & set(LAYOUT), f"{file.name}, line {node.lineno}: return gr.update(...) instead"
