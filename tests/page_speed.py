"""What the strip costs a page: `python tests/page_speed.py [ROUNDS]`; a command, not a test.

Runs Atlas's default comparison in chromium, in turns with the token record and without, and prints the ratio of tokens
a second as the page tells them, with its 95% bootstrap interval. Server and browser share this machine.
"""

import json
import re
import sys
from typing import Any
from urllib.parse import urlencode

from conftest import CHROMIUM_ARGUMENTS
from playwright.sync_api import sync_playwright
from serving import app_served

from eft_core.benchmark.timing import summary

PROMPTS = (
    "When did Kenya become independent?",
    "Which city is the capital of Vietnam?",
    "How many people live in Japan?",
)
LENGTH = 300  # tokens of a column: longer than any answer that ends by itself


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


def main(rounds: int) -> None:
    with app_served() as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_ARGUMENTS)
        found = {name: measured(browser, address, rounds, t) for name, t in (("greedy", 0.0), ("temperature 1", 1.0))}
        browser.close()
    print(json.dumps({"streaming_with_over_without_record": found}, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
