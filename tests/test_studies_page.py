"""Ratings in the whole page: answers are written while a study's rater waits, and what was compared can be judged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import served, write_example
from sqlalchemy import func, select
from studied import plan_of, prompts

from eft_core.config import Limits
from eft_core.ratings.office import Office
from eft_core.ratings.records import votes
from eft_core.schema import generations
from eft_core.storage import Storage

SETTLED = 350  # ms after which a new comparison takes keys: those that were meant for the one before are let go


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def address(folder: Path, families_file: str, sessions: Any) -> Iterator[str]:
    with served(families_file, write_example(folder / "example.json", sessions("llama"))) as address:
        yield address


@pytest.fixture
def kept(folder: Path, address: str) -> Iterator[Storage]:
    """The page's own database, from another process."""
    storage = Storage(f"sqlite:///{folder / 'data' / 'ratings.sqlite3'}")
    yield storage
    storage.close()


def count(storage: Storage, table: Any) -> int:
    with storage.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def test_a_new_studys_answers_come_while_its_rater_reads_the_guidelines(kept: Storage, visit: Any) -> None:
    campaign = Office(kept).create(plan_of(limits=Limits(12)), prompts(3))
    page = visit(f"?rate={campaign}")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Go on", exact=True).click()
    page.locator("#rate .pair .answer").first.wait_for()
    for number in range(1, 4):
        page.get_by_role("heading", name=f"Comparison {number} of").wait_for()
        page.wait_for_timeout(SETTLED)
        page.keyboard.press("1")
        page.keyboard.press("Enter")
    page.get_by_role("heading", name="Comparison 4 of").wait_for()
    assert len(votes(kept)) == 3
    assert votes(kept).table["blind"].all()


def test_what_was_compared_is_judged_from_the_servers_own_record(kept: Storage, visit: Any) -> None:
    page = visit()
    page.locator("#prompt textarea").fill("What is the capital of Kenya?")
    page.locator("#run").click()
    page.wait_for_function("() => document.querySelector('.board .status').textContent.startsWith('Finished')")
    before = count(kept, generations)
    page.get_by_role("tab", name="Rate").click()
    page.get_by_role("button", name="Judge a pair").click()
    go_on = page.get_by_role("button", name="Go on", exact=True)
    go_on.click()
    page.locator("#rate .pair .answer").first.wait_for()
    assert count(kept, generations) - before == 4
    page.wait_for_timeout(SETTLED)
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    page.get_by_text("Kept").first.wait_for()
    assert (~votes(kept).table["blind"]).sum() == 1


def test_nothing_was_compared_is_said(visit: Any) -> None:
    page = visit()
    page.get_by_role("tab", name="Rate").click()
    page.get_by_role("button", name="Judge a pair").click()
    page.get_by_role("button", name="Go on", exact=True).click()
    page.get_by_text("There is nothing to judge yet").wait_for()


def test_results_of_a_running_study_are_not_shown_to_raters(kept: Storage, visit: Any) -> None:
    page = visit()
    page.get_by_role("tab", name="Results").click()
    page.get_by_role("tab", name="Ratings").click()
    page.get_by_label("Campaign").wait_for()
    page.get_by_label("Campaign").click()
    options = page.get_by_role("option").all_inner_texts()
    assert not any("A study" in each for each in options)


def test_the_organisers_page_asks_for_a_password_and_says_how_to_set_one(address: str, visit: Any) -> None:
    page = visit()
    page.goto(f"{address}organise")
    page.get_by_text("set EFT_ORGANISER_PASSWORD").wait_for()
    assert page.get_by_text("A study").count() == 0


def test_a_rated_answer_is_looked_into_once_its_studys_results_are_open(kept: Storage, visit: Any) -> None:
    office = Office(kept)
    campaign = next(each.id for each in office.campaigns() if each.title == "A study")
    page = visit()
    page.get_by_role("tab", name="Inspect").click()
    page.wait_for_timeout(700)
    choices = page.locator("#inspect-rated input")
    choices.click()
    assert not any("up-scaled" in each for each in page.get_by_role("option").all_inner_texts())
    office.set_state(campaign, "closed")
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("tab", name="Inspect").click()
    option = page.get_by_role("option", name="capital of country").first
    while not option.count():  # the answers come after the tab; pytest's own patience ends this
        choices.blur()
        page.wait_for_timeout(200)
        choices.click()
    option.click()
    page.wait_for_selector(".reader .strip-token")
    assert "capital of country" in page.get_by_placeholder("What was asked").input_value()
    page.wait_for_selector("#overview .heatmaplayer")
