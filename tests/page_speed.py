"""What the strip costs a page: `python tests/page_speed.py [ROUNDS]`; a command, not a test.

Runs Atlas's default comparison in chromium, in turns with the token record and without, and prints the ratio of tokens
a second as the page tells them, with its 95% bootstrap interval. Server and browser share this machine. Then the time
from one frame to the next while a slider of "What if" moves, the measure changes, and the arrow keys walk, in a strip
of 2,000 tokens and in one of 100.
"""

import itertools
import json
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from conftest import CHROMIUM_ARGUMENTS
from playwright.sync_api import sync_playwright
from serving import app_served
from test_strip import harness, long

from eft_core.benchmark.timing import summary

PROMPTS = (
    "When did Kenya become independent?",
    "Which city is the capital of Vietnam?",
    "How many people live in Japan?",
)
LENGTH = 480  # tokens of a column: longer than most answers; at temperature 1.5 they ramble up to it
STEPS = 40

# What happens in frame `step`; every one of them changes what all tokens look like, but for the arrow.
ACTS = {
    "slider": """(step) => { const range = document.querySelector('.strip-slider input');
        range.value = 2 * (step % 20) / 20; range.dispatchEvent(new Event('input')); }""",
    "measure": "(step) => { strips.measure = ['entropy', 'shift', 'logprob'][step % 3]; }",
    "arrow": """(step) => document.activeElement.dispatchEvent(
        new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }))""",
}


def opened(browser: Any, address: str, record: bool, temperature: float) -> Any:
    """A page whose address sets length, temperature and record; it runs its prompt once, to warm up."""
    query = {"prompt": PROMPTS[0], "length": LENGTH, "temperature": temperature, "record": int(record)}
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    page.goto(f"{address}?{urlencode(query)}")
    waited(page)
    return page


def waited(page: Any) -> float:
    """Tokens a second of all columns together, once the run is over."""
    page.wait_for_function(
        "() => document.querySelector('.status')?.textContent.startsWith('Finished')", timeout=60_000
    )
    found = re.search(r"([\d,]+) tokens/s", page.locator(".status").text_content())
    assert found, "the page tells tokens a second"
    return float(found[1].replace(",", ""))


def speed(page: Any, prompt: str) -> float:
    page.fill("#prompt textarea", prompt)
    page.click("#run")
    page.wait_for_function("prompt => document.querySelector('.echo').textContent === prompt", arg=prompt)
    return waited(page)


def measured(browser: Any, address: str, rounds: int, temperature: float) -> dict[str, Any]:
    """Tokens a second with the record over those without, in turns."""
    pages = {record: opened(browser, address, record, temperature) for record in (True, False)}
    pairs = []
    for number in range(rounds):
        prompt = PROMPTS[(number + 1) % len(PROMPTS)]
        order = (True, False) if number % 2 else (False, True)
        found = {record: speed(pages[record], prompt) for record in order}
        pairs.append((found[True], found[False]))
    for page in pages.values():
        page.close()
    ratio = summary([with_record / without for with_record, without in pairs])
    return {
        "tokens_per_second": [round(sum(column) / rounds, 1) for column in zip(*pairs, strict=True)],
        "ratio": [round(each, 3) for each in (ratio.median, ratio.low, ratio.high)],
    }


def frames(browser: Any, tokens: int) -> dict[str, list[float]]:
    """Milliseconds from frame to frame, median and 90th percentile, by what happens in each."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "strip.html"
        file.write_text(harness(), encoding="utf-8")
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.goto(file.as_uri())
        page.add_style_tag(content="#columns { max-width: 100ch; }")  # as wide as Inspect shows a text
        page.evaluate("told => void put(0, told)", long(tokens))
        page.wait_for_timeout(1000)
        page.evaluate("strips.select(0, 0)")
        found = {name: _frames(page, act) for name, act in ACTS.items()}
        page.close()
    return found


def _frames(page: Any, act: str) -> list[float]:
    times = page.evaluate(
        f"""async (steps) => {{
            const act = {act};
            const frame = () => new Promise(requestAnimationFrame);
            const times = [await frame()];
            for (let step = 0; step < steps; step += 1) {{ act(step); times.push(await frame()); }}
            return times;
        }}""",
        STEPS,
    )
    spans = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    return [round(statistics.median(spans), 1), round(spans[int(0.9 * len(spans))], 1)]


def main(rounds: int) -> None:
    ways = {"greedy": 0.0, "temperature 1": 1.0, "temperature 1.5": 1.5}
    with app_served() as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_ARGUMENTS)
        found = {name: measured(browser, address, rounds, temperature) for name, temperature in ways.items()}
        smooth = {f"{tokens} tokens": frames(browser, tokens) for tokens in (100, 2000)}
        browser.close()
    told = {"streaming_with_over_without_record": found, "frame_ms_median_and_p90": smooth}
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
