"""Take the README's pictures of the page: `make screenshots`; a command, not a test.

Starts `python app.py`, runs one comparison at every width and scheme, looks at a token and into Inspect, sweeps,
looks at the results and the models, judges in a study whose other raters are simulated, and writes assets/screenshots/.
"""

import shutil
import tempfile
from typing import Any

from conftest import CHROMIUM_ARGUMENTS, arrive
from playwright.sync_api import sync_playwright
from rated_atlas import PASSWORD, TITLE, study
from serving import ROOT, app_served

FOLDER = ROOT / "assets" / "screenshots"
VIEWS = ((1600, 900, "light"), (1600, 900, "dark"), (1024, 900, "light"), (390, 844, "light"), (390, 844, "dark"))
PROMPT = "When did Kenya become independent?"


# Where the strip and Inspect are shown: the widths of a desk and of a phone, both schemes.
INSPECTED = tuple(view for view in VIEWS if view[0] != 1024)


def open_page(browser: Any, address: str, width: int, height: int, scheme: str) -> Any:
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    arrive(page, address)
    return page


def run(page: Any) -> None:
    page.click("#run")
    page.wait_for_function("() => document.querySelector('.status').textContent.startsWith('Finished')")
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)


def speculate(page: Any) -> None:
    """One comparison decoded both ways, with the settings of speculation and a column's details in view."""
    page.locator("#decoding button").first.click()
    page.get_by_label("Time both ways").check()
    page.wait_for_timeout(300)
    page.evaluate("document.querySelector('#panel').scrollTop = 10000; scrollTo(0, 0)")
    run(page)
    page.locator("[data-role=emulated] .share").focus()
    page.wait_for_timeout(300)


def look(page: Any, width: int, scheme: str) -> None:
    """A token's popover, then the answer in Inspect, and where the mixture fails."""
    token = page.locator("[data-role=emulated] .strip-token", has_text="December").first
    token.scroll_into_view_if_needed()
    token.click()
    page.wait_for_selector(".board .strip-popover:visible")
    page.wait_for_timeout(300)
    page.screenshot(path=FOLDER / f"token-{width}-{scheme}.png")
    page.keyboard.press("Escape")
    page.locator("[data-role=emulated] .inspect").click()
    page.wait_for_selector("#overview .heatmaplayer")
    page.get_by_role("button", name="Find").click()
    page.wait_for_selector(".finding")
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)
    page.screenshot(path=FOLDER / f"inspect-{width}-{scheme}.png", full_page=True)


def sweep(page: Any, width: int, scheme: str) -> None:
    """Two behaviours mixed, over Atlas questions: a question that one declines, in the middle, and the curves."""
    page.get_by_role("tab", name="Sweep").click()
    page.locator("#sweep-ask").get_by_label("Atlas questions").check()
    page.get_by_role("button", name="Mixing").click()
    page.wait_for_timeout(500)
    page.locator("#sweep-ask").get_by_role("button", name="Run").click()
    page.wait_for_selector("#curves .scatterlayer .trace", timeout=300_000)
    page.locator(".scrub .which select").select_option(index=30)  # the sensitive ones come last
    page.locator(".rung").nth(5).click()
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)
    page.screenshot(path=FOLDER / f"sweep-{width}-{scheme}.png", full_page=True)


def results(page: Any, width: int, scheme: str) -> None:
    """The experiments' first paint: what is committed."""
    page.get_by_role("tab", name="Results").click()
    page.wait_for_selector("#result-figure .heatmaplayer", timeout=60_000)
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)
    page.screenshot(path=FOLDER / f"results-{width}-{scheme}.png", full_page=True)


def models(page: Any, width: int, scheme: str) -> None:
    """Atlas in memory, its vocabulary, and the first of all families."""
    size = page.viewport_size
    page.set_viewport_size({"width": width, "height": 1400})
    page.get_by_role("tab", name="Models").click()
    page.get_by_role("button", name="Vocabulary").click()
    page.wait_for_selector("#models-report table", timeout=60_000)
    page.wait_for_selector("#models-families h3, #models-families a", timeout=60_000)
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)
    page.screenshot(path=FOLDER / f"models-{width}-{scheme}.png")
    page.set_viewport_size(size)


def rate(page: Any, address: str, campaign: str, width: int, scheme: str) -> None:
    """A study's comparison, with a choice made; then what its simulated raters say."""
    page.goto(f"{address}?rate={campaign}")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Go on", exact=True).click()
    page.locator("#rate .pair .answer").first.wait_for()
    page.wait_for_timeout(600)
    while len({text[:20] for text in page.locator("#rate .pair .answer").all_text_contents()}) < 2:  # too alike
        page.keyboard.press("3")
        page.keyboard.press("Enter")
        page.wait_for_timeout(900)
    page.keyboard.press("2")
    page.mouse.move(0, 0)
    page.wait_for_timeout(400)
    page.screenshot(path=FOLDER / f"rate-{width}-{scheme}.png", full_page=width < 1000)
    page.get_by_role("tab", name="Results").click()
    page.get_by_role("tab", name="Ratings").click()
    page.wait_for_selector("#rating-figure .scatterlayer", timeout=60_000)
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000)
    page.screenshot(path=FOLDER / f"ratings-{width}-{scheme}.png", full_page=True)


def organise(page: Any, address: str, width: int, scheme: str) -> None:
    """The organiser's campaigns."""
    page.goto(f"{address}organise")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("button", name=TITLE).wait_for()
    page.wait_for_timeout(800)
    page.screenshot(path=FOLDER / f"organise-{width}-{scheme}.png", full_page=True)


def ask_what_if(page: Any) -> None:
    """Other weights, from the stored numbers."""
    page.get_by_text("What if").first.click()
    slider = page.locator(".board .strip-slider input").last
    slider.evaluate("each => { each.value = 0; each.dispatchEvent(new Event('input', {bubbles: true})); }")
    page.wait_for_timeout(400)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp()
    with app_served(folder, EFT_ORGANISER_PASSWORD=PASSWORD) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_ARGUMENTS)
        campaign = study(folder)
        for width, height, scheme in VIEWS:
            page = open_page(browser, address, width, height, scheme)
            if width == 1600 and scheme == "light":
                page.screenshot(path=FOLDER / "first-paint-1600-light.png")
            page.fill("#prompt textarea", PROMPT)
            run(page)
            page.screenshot(path=FOLDER / f"compare-{width}-{scheme}.png", full_page=width < 1000)
            if (width, height, scheme) in INSPECTED:
                look(page, width, scheme)
                sweep(page, width, scheme)
                results(page, width, scheme)
                models(page, width, scheme)
                rate(page, address, campaign, width, scheme)
                organise(page, address, width, scheme)
        page = open_page(browser, address, 1600, 900, "light")
        page.click("text=who declines what")
        page.wait_for_timeout(500)
        run(page)
        page.screenshot(path=FOLDER / "who-declines-1600-light.png")
        page = open_page(browser, address, 1600, 900, "light")
        run(page)
        ask_what_if(page)
        page.screenshot(path=FOLDER / "what-if-1600-light.png")
        page = open_page(browser, address, 1600, 900, "light")
        speculate(page)
        page.screenshot(path=FOLDER / "speculation-1600-light.png")
        browser.close()
    shutil.rmtree(folder)
    print(f"{len(list(FOLDER.glob('*.png')))} pictures in {FOLDER}")


if __name__ == "__main__":
    main()
