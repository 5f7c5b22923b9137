"""Results, Ratings: the handlers without a page, and the page in chromium."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from ratings_server import STUDY, load, served
from serving import HOSTILE
from voted import simulated

from components.ratings_lines import MAX_ROWS, body
from components.ratings_results import ALL, BLIND, COUNTED, EVERYBODY, IN_LINE, OPEN, RatingsResults, Source
from eft_core.ratings.filters import Filter
from eft_core.ratings.findings import findings
from eft_core.ratings.votes import Votes

FILTERS: tuple[Any, ...] = (BLIND, COUNTED, "", "", "", "")
PUBLISHED = (("b", "Published"),)
EVERY = (("a", "Running"), *PUBLISHED)


def results(votes: Votes | None = None) -> RatingsResults:
    """Two campaigns, of which anybody may see one; the pass "let me in" is an organiser's, and so is the login boss."""
    return RatingsResults(
        Source(
            organiser=lambda badge, login: badge == "let me in" or login == "boss",
            campaigns=lambda organiser: EVERY if organiser else PUBLISHED,
            load=lambda campaign, organiser: load(STUDY, organiser) if votes is None else votes,
        )
    )


def shown(
    page: RatingsResults,
    campaign: Any = None,
    section: Any = "wins",
    badge: Any = None,
    filters: tuple[Any, ...] = FILTERS,
) -> list[Any]:
    """What `show` gives at last, its head parsed."""
    first, last = page.show(None, badge, section, campaign, *filters, False)
    assert first[0].props["busy"] == "Reading the votes."
    head, *others = last
    return [json.loads(head.value), *others]


def test_the_first_campaign_is_read_when_the_tab_is_opened() -> None:
    head, figure, table, sections, campaign, *named, kept = shown(results())
    assert head["title"] == "Win rates"
    assert not head["error"]
    assert figure.visible
    assert json.loads(table)["table"]["heads"][:3] == ["policy", "against", "win rate"]
    assert [name for name, _ in sections.choices][:3] == ["Win rates", "Answers", "Ranking"]
    assert campaign.value == "b"
    assert [each.visible for each in named] == [False, False, True, False], "N alone varies in what policies have"
    assert kept.title == "Published"


@pytest.mark.parametrize("campaign", ["a", "../b", "x" * 10_000, ["b"], {"a": 1}, 3])
def test_a_campaign_that_a_visitor_may_not_see_is_refused(campaign: Any) -> None:
    head, *others = shown(results(), campaign)
    assert head["error"]
    assert "not published" in head["status"]
    assert len(head["status"]) < 200
    assert all(isinstance(each, dict) for each in others), "and nothing else changes"


def test_an_organiser_sees_every_campaign_and_the_raters() -> None:
    for badge in ("let me in", None):
        page, profile = results(), SimpleNamespace(username="boss") if badge is None else None
        *_, last = page.show(profile, badge, "raters", "a", *FILTERS, False)  # type: ignore[arg-type]
        assert json.loads(last[0].value)["title"] == "Raters"
    head, *_ = shown(results(), "b", "raters", badge="let me IN")
    assert head["title"] == "Win rates", "anybody else gets the first section"


@pytest.mark.parametrize("filters", [("both", COUNTED), (BLIND, "x"), ({}, COUNTED), (None, []), (BLIND, IN_LINE)])
def test_filters_that_the_page_never_offers_are_refused(filters: tuple[Any, ...]) -> None:
    head, *_ = shown(results(), "b", filters=(*filters, "", "", "", ""))
    assert head["error"] is (filters != (BLIND, IN_LINE))


@pytest.mark.parametrize("value", ["gone", HOSTILE, ["large"], {"a": 1}, None, 7])
def test_a_value_that_a_campaign_does_not_have_is_any(value: Any) -> None:
    *_, kept = shown(results(), "b", filters=(BLIND, EVERYBODY, value, value, value, value))
    assert kept.chosen == Filter(excluded=True)


def test_no_votes_say_what_to_do() -> None:
    head, figure, table, sections, *_ = shown(results(Votes.empty()))
    assert head["status"].startswith("No ratings yet: ")
    assert not head["error"]
    assert (figure.visible, table, sections.visible) == (False, "", False)
    none, *_ = shown(results(), "b", filters=(OPEN, *FILTERS[1:]))
    assert "No vote is left" in none["status"]


def test_a_failure_is_told_without_its_details(caplog: pytest.LogCaptureFixture) -> None:
    def broken(campaign: str | None, organiser: bool) -> Votes:
        raise RuntimeError("the secret path")

    page = RatingsResults(Source(lambda badge, login: False, lambda organiser: PUBLISHED, broken))
    head, *_ = shown(page)
    assert head["error"]
    assert "secret" not in head["status"]
    assert "RuntimeError" in head["status"]
    assert "the secret path" in caplog.text


def test_every_section_can_be_picked_and_saved() -> None:
    *_, kept = shown(results(), badge="let me in")
    for section in kept.findings.sections:
        head, figure, table = results().pick(section.name, kept, True)
        assert json.loads(head.value)["title"] == section.title
        assert figure.value is not None
        assert json.loads(table)["how"]
        for kind in ("csv", "json", "all-csv", "all-json"):
            event: Any = SimpleNamespace(_data={"kind": kind})
            file = json.loads(results().save(event, section.name, kept).props["save"])
            assert file["name"].startswith("eft-lab-ratings")
            assert len(file["text"]) > 50


@pytest.mark.parametrize("kind", [None, "exe", ["csv"], {"a": 1}])
def test_other_files_are_not_made(kind: Any) -> None:
    *_, kept = shown(results())
    assert "save" not in getattr(results().save(SimpleNamespace(_data={"kind": kind}), "wins", kept), "props", {})  # type: ignore[arg-type]
    assert results().pick("wins", None, False)[2] == ""


def test_files_hold_everything_and_the_whole_has_every_section() -> None:
    *_, kept = shown(results(), badge="let me in")
    event: Any = SimpleNamespace(_data={"kind": "all-json"})
    document = json.loads(json.loads(results().save(event, "wins", kept).props["save"])["text"])
    assert document["schema"] == "eft-lab/ratings/1"
    assert document["filter"]["blind"] is True
    assert [each["name"] for each in document["sections"]] == [each.name for each in kept.findings.sections]
    event = SimpleNamespace(_data={"kind": "all-csv"})
    text = json.loads(results().save(event, "wins", kept).props["save"])["text"]
    assert len(text.splitlines()) > sum(len(each.rows) for each in kept.findings.sections)


def test_long_tables_are_cut_and_say_so() -> None:
    section = findings(simulated(), Filter()).section("time")
    assert section is not None
    told = json.loads(body(section))
    assert len(told["table"]["cells"]) == MAX_ROWS < len(section.rows)
    assert ["rows", f"The first {MAX_ROWS} of 300; the CSV has all."] in told["how"]


def test_all_campaigns_are_offered_where_there_are_several() -> None:
    *_, campaign, _, _, _, _, _ = shown(results(), ALL, badge="let me in")
    assert campaign.choices == [("Running", "a"), ("Published", "b"), ("All campaigns", ALL)]
    assert isinstance(campaign, gr.Dropdown)


# --- the page


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as address:
        yield address


def opened(page: Any) -> Any:
    page.get_by_role("tab", name="Ratings").click()
    page.wait_for_selector("#rating-figure .js-plotly-plot .scatterlayer")
    return page


def pick(page: Any, title: str) -> None:
    page.get_by_role("radio", name=title, exact=True).check(force=True)
    page.wait_for_function("title => document.querySelector('.ratings h2').textContent === title", arg=title)


def choose(page: Any, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option).click()


def test_the_page_shows_sections_and_hostile_texts_stay_texts(visit: Any) -> None:
    page = opened(visit())
    assert page.locator(".ratings h2").text_content() == "Win rates"
    assert page.locator(".ratings .status").text_content().startswith("600 votes of 12 raters on 60 items")
    assert HOSTILE in page.locator("#rating-tables .rows td").all_text_contents()
    titles = page.locator("#rating-names label").all_text_contents()
    assert len(titles) == 11
    for title in (each.strip() for each in titles):
        pick(page, title)
        page.wait_for_selector("#rating-figure .js-plotly-plot .main-svg")
    assert HOSTILE in page.locator("#rating-tables .rows td").all_text_contents()
    assert page.locator("#rating-figure :is(script, img)").count() == 0


def test_filters_change_what_is_shown_and_an_empty_campaign_says_what_to_do(visit: Any) -> None:
    page = opened(visit())
    choose(page, "Raters", "Without those out of line")
    page.wait_for_function("() => document.querySelector('.ratings .status').textContent.includes('The filters leave')")
    choose(page, "Campaign", "Nothing yet")
    page.wait_for_function(
        "() => document.querySelector('.ratings .status').textContent.startsWith('No ratings yet: ')"
    )
    page.wait_for_selector(
        "#rating-figure:visible, #rating-tables table:visible, .ratings .bar:visible", state="detached"
    )
    choose(page, "Campaign", "A study")
    page.wait_for_selector("#rating-figure .js-plotly-plot .scatterlayer")


def test_figures_data_and_the_whole_can_be_saved(visit: Any, tmp_path: Path) -> None:
    page = opened(visit())
    pick(page, "Ranking")
    files = {}
    for name in ("Save CSV", "All as JSON"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        files[name] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[name])
    assert files["Save CSV"].name == "eft-lab-ratings-ranking.csv"
    assert files["Save CSV"].read_text(encoding="utf-8").startswith("policy,role,rating,rating_low,rating_high")
    assert len(json.loads(files["All as JSON"].read_text(encoding="utf-8"))["sections"]) == 11


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_wide_tables_in_their_own_box(visit: Any, scheme: str) -> None:
    page = opened(visit(width=390, scheme=scheme))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#rating-tables .box").first
    assert box.evaluate("each => each.scrollWidth > each.clientWidth")
    plot = page.locator("#rating-figure .main-svg").first
    ground = {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
    assert plot.evaluate("each => getComputedStyle(each).backgroundColor") == ground
