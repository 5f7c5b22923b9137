"""The Rate tab in chromium: a blind session by keyboard alone, undo, edits, another device, a locked database."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rating_server import CONTENDERS, SECRETS, TEXTS, rating_served, storage_of
from serving import HOSTILE
from signed_in import session_cookie
from sqlalchemy import func, select, update
from studied import studied

from eft_core.ratings.desk import Desk
from eft_core.ratings.judgement import Judgement
from eft_core.ratings.office import Office
from eft_core.ratings.studies import Who
from eft_core.schema import annotators, comparisons, generations, items, ratings
from eft_core.storage import Storage

PLAIN: dict[str, Any] = {"contenders": CONTENDERS, "strength": False, "tags": (), "comment": False}
EVERYTHING: dict[str, Any] = {
    "contenders": CONTENDERS,
    "scales": ("helpfulness", "factuality"),
    "tags": ("wrong fact", "rambles"),
}
SETTLED = 350  # ms: a little longer than the page waits before a new comparison takes a judgement


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rate")


@pytest.fixture(scope="module")
def storage(folder: Path) -> Iterator[Storage]:
    opened = storage_of(folder)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def address(folder: Path, storage: Storage) -> Iterator[str]:
    with rating_served(folder) as address:
        yield address


def on(page: Any, screen: str) -> Any:
    """Wait for a screen; the page."""
    page.wait_for_selector(f".rate [data-screen={screen}]:not([hidden])")
    return page


def at(page: Any, number: int, total: int, more: str = "") -> None:
    """Wait for a comparison, until it takes a judgement."""
    text = f"Comparison {number} of {total}{more}"
    page.wait_for_function("text => document.querySelector('.rate .where')?.textContent === text", arg=text)
    page.wait_for_timeout(SETTLED)


def notice(page: Any, text: str) -> None:
    """Wait until the page says so."""
    page.wait_for_function("text => document.querySelector('.rate .notice')?.textContent.includes(text)", arg=text)


def act(page: Any, screen: str, name: str) -> None:
    page.locator(f".rate [data-screen={screen}] [data-act={name}]").click()


def begun(visit: Any, campaign: str, **options: Any) -> tuple[Any, str]:
    """A page at the first comparison of a campaign, and the rater's code."""
    page = on(visit(f"?rate={campaign}", **options), "start")
    act(page, "start", "start")
    code = on(page, "code").locator("[data-screen=code] .code").text_content()
    act(page, "code", "begin")
    on(page, "task").wait_for_timeout(SETTLED)
    return page, code


def shown(page: Any) -> tuple[str, str, str]:
    """Prompt, A and B."""
    texts = page.locator(".rate .prompt, .rate .answer").all_text_contents()
    return texts[0], texts[1], texts[2]


def standing(storage: Storage, campaign: str, code: str) -> list[str]:
    """What the database holds of a rater: verdicts, the first comparison first."""
    past = Desk(storage).history(campaign, Who(code))
    return [each.verdict for each in sorted(past, key=lambda each: each.number)]


def rows(storage: Storage, campaign: str) -> list[Any]:
    """All rows of a campaign's ratings, in the order of their writing."""
    query = select(ratings).join(comparisons, comparisons.c.id == ratings.c.comparison)
    with storage.reading() as connection:
        return list(connection.execute(query.where(comparisons.c.campaign == campaign).order_by(ratings.c.created)))


# --- a session


def test_five_items_by_keyboard_alone_with_undo_and_going_on_elsewhere_by_code(
    visit: Any, address: str, storage: Storage
) -> None:
    campaign = studied(storage, 5, **PLAIN)
    page = on(visit(f"?rate={campaign}"), "start")
    page.get_by_role("heading", name="A study").wait_for()
    for _ in range(20):  # to the button by Tab, as people without a mouse go
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.act") == "start":
            break
    page.keyboard.press("Enter")
    code = on(page, "code").locator("[data-screen=code] .code").text_content()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    at(page, 1, 5)
    assert page.locator(".rate .lesson").is_visible(), "the first comparison comes with a lesson"
    first = shown(page)
    page.keyboard.press("1")
    at(page, 2, 5)
    notice(page, "Kept")
    assert standing(storage, campaign, code) == ["left"]
    page.keyboard.press("ArrowRight")
    at(page, 3, 5)
    page.keyboard.press("u")
    at(page, 2, 5)
    notice(page, "Taken back")
    page.keyboard.press("u")
    at(page, 1, 5)
    assert shown(page) == first
    assert page.locator("[data-verdict=left]").get_attribute("aria-pressed") == "true", "what was said is still marked"
    page.keyboard.press("4")
    at(page, 2, 5)
    page.keyboard.press("ArrowUp")
    at(page, 3, 5)
    assert standing(storage, campaign, code) == ["both_bad", "both_good"]

    elsewhere = on(visit(f"?rate={campaign}"), "start")
    act(elsewhere, "start", "have-code")
    elsewhere.keyboard.type(code.lower().replace("-", " "))
    elsewhere.keyboard.press("Enter")
    at(elsewhere, 3, 5)
    assert shown(elsewhere) == shown(page)
    for number, key in ((3, "0"), (4, "ArrowLeft"), (5, "2")):
        at(elsewhere, number, 5)
        elsewhere.keyboard.press(key)
    on(elsewhere, "rest").get_by_role("heading", name="Thank you").wait_for()
    assert code in elsewhere.locator("[data-screen=rest]").text_content()
    assert standing(storage, campaign, code) == ["both_bad", "both_good", "unsure", "left", "right"]
    page.reload()
    on(page, "rest")
    assert len(rows(storage, campaign)) == 9, "seven judgements and two that were taken back, each once"


def test_what_the_browser_receives_in_a_blind_session_does_not_unblind(visit: Any, storage: Storage) -> None:
    def session(reveal: bool) -> tuple[str, str]:
        """All that came to the browser before the first vote, and after it."""
        campaign = studied(storage, 5, **PLAIN, reveal=reveal)
        page = on(visit(f"?rate={campaign}"), "start")
        heard: list[Any] = []

        def hear(response: Any) -> None:
            heard.append(response)

        page.on("response", hear)
        page.reload()
        on(page, "start")
        act(page, "start", "start")
        on(page, "code")
        act(page, "code", "begin")
        at(page, 1, 5)
        before = received(page, heard)
        for number in range(1, 6):
            at(page, number, 5)
            page.keyboard.press("1")
        on(page, "rest")
        act(page, "rest", "history")
        page.locator(".rate dialog .past").first.click()
        on(page, "task")
        return before, received(page, heard)

    def received(page: Any, heard: list[Any]) -> str:
        config = page.evaluate("JSON.stringify(window.gradio_config)")
        kept = page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
        bodies = [each.body().decode("utf-8", "replace") for each in heard if "/assets/" not in each.url]
        assert any("comparison" in body for body in bodies), "the messages are among them"
        return " ".join([*bodies, page.content(), config, kept]).lower()

    before, after = session(reveal=False)
    assert [word for word in SECRETS if word in before + after] == []
    before, after = session(reveal=True)
    assert [word for word in SECRETS if word in before] == []
    assert set(SECRETS) <= {word for word in SECRETS if word in after}, "the same reading sees what is told"


def test_all_that_is_asked_is_kept_and_found_again_through_the_history(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 2, **EVERYTHING)
    page, code = begun(visit, campaign)
    save = page.locator("[data-act=cast]")
    assert save.is_disabled()
    page.keyboard.press("2")
    page.keyboard.press(".")
    page.locator("[data-side=left][data-scale=helpfulness][data-mark='2']").click()
    page.locator("[data-side=right][data-scale=factuality][data-mark='5']").click()
    page.get_by_role("button", name="rambles").click()
    page.locator(".rate textarea").fill("A says 1, 2 and u: keys of texts are not for us")
    assert page.locator(".rate .where").text_content() == "Comparison 1 of 2", "nothing is sent before it is said so"
    page.keyboard.press("Control+Enter")
    at(page, 2, 2)
    row = rows(storage, campaign)[0]
    said = (row.verdict, row.strength, row.tags, row.comment)
    assert said == ("right", 2, ["rambles"], "A says 1, 2 and u: keys of texts are not for us")
    assert row.scales == {"left": {"helpfulness": 2}, "right": {"factuality": 5}}
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    on(page, "rest")
    act(page, "rest", "history")
    page.locator(".rate dialog .past").last.click()
    at(page, 1, 2, ", again")
    assert page.locator(".rate textarea").input_value().startswith("A says")
    pressed = page.locator(".rate [aria-pressed=true]").all_text_contents()
    assert [text.split()[0] for text in pressed] == ["2", "5", "B", "Clearly", "rambles"]
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    on(page, "rest")
    notice(page, "in the stead")
    assert standing(storage, campaign, code) == ["left", "both_good"]
    assert rows(storage, campaign)[2].strength == 2, "what was not touched stays"


def test_a_choice_is_saved_at_once_where_the_rater_asks_for_it_also_after_a_reload(
    visit: Any, storage: Storage
) -> None:
    campaign = studied(storage, 3, **EVERYTHING)
    page, code = begun(visit, campaign)
    page.get_by_label("Save as soon as I choose").check()
    page.keyboard.press(",")
    page.keyboard.press("1")
    at(page, 2, 3)
    page.reload()
    at(on(page, "task"), 2, 3)
    page.get_by_role("button", name="Both bad").click()
    at(page, 3, 3)
    assert standing(storage, campaign, code) == ["left", "both_bad"]
    assert [row.strength for row in rows(storage, campaign)] == [1, None]


def test_a_key_or_a_button_pressed_twice_is_one_judgement(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 3, **PLAIN)
    page, code = begun(visit, campaign)
    page.get_by_role("button", name="A is better").dblclick()
    at(page, 2, 3)
    page.keyboard.down("2")
    page.keyboard.down("2")  # held down: it repeats
    page.keyboard.up("2")
    at(page, 3, 3)
    assert standing(storage, campaign, code) == ["left", "right"]


def test_keys_do_nothing_where_they_are_not_meant(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 2, **PLAIN)
    page, code = begun(visit, campaign)
    page.keyboard.press("Control+1")
    page.keyboard.press("?")
    page.keyboard.press("1")  # in the sheet
    page.keyboard.press("Escape")
    page.locator(".rate .answer").first.focus()
    page.keyboard.press("ArrowDown")  # scrolls the answer
    page.get_by_role("tab", name="Compare").click()
    page.keyboard.press("1")
    page.get_by_label("Prompt").first.fill("1 2 3")
    page.wait_for_timeout(SETTLED)
    assert standing(storage, campaign, code) == []
    page.get_by_role("tab", name="Rate").click()
    page.keyboard.press("1")
    at(page, 2, 2)


def test_time_counts_only_while_the_comparison_is_in_view(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 2, **PLAIN)
    page, _ = begun(visit, campaign)
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_timeout(3000)
    page.get_by_role("tab", name="Rate").click()
    page.wait_for_timeout(500)
    page.keyboard.press("1")
    at(page, 2, 2)
    assert 0.5 <= rows(storage, campaign)[0].seconds < 3


# --- where nothing can be judged


def test_answers_that_are_being_written_are_waited_for(visit: Any, storage: Storage) -> None:
    from studied import answer_all, plan_of

    campaign = studied(storage, 2, answered=False, **PLAIN)
    page = on(visit(f"?rate={campaign}"), "start")
    act(page, "start", "start")
    act(on(page, "code"), "code", "begin")
    on(page, "rest").get_by_text("being written").wait_for()
    answer_all(storage, campaign, plan_of(**PLAIN))
    at(on(page, "task"), 1, 2)


def test_a_pause_is_told_and_nothing_said_in_it_is_kept(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 2, **PLAIN)
    page, code = begun(visit, campaign)
    Office(storage).set_state(campaign, "paused")
    page.keyboard.press("1")
    notice(page, "paused, so this was not kept")
    page.reload()
    on(page, "rest").get_by_role("heading", name="Paused").wait_for()
    Office(storage).set_state(campaign, "running")
    act(page, "rest", "again")
    at(on(page, "task"), 1, 2)
    assert standing(storage, campaign, code) == []


def test_a_link_to_nothing_says_so(visit: Any) -> None:
    page = on(visit("?rate=nothing"), "free")
    notice(page, "no such campaign")


def test_a_study_is_opened_by_its_link_or_id(visit: Any, address: str, storage: Storage) -> None:
    campaign = studied(storage, 2, title="By its link", **PLAIN)
    page = visit()
    page.get_by_role("tab", name="Rate").click()
    for text in (f"{address}?rate={campaign}", campaign):
        on(page, "free").get_by_label("link to a study").fill(text)
        page.get_by_role("button", name="Open").click()
        on(page, "start").get_by_role("heading", name="By its link").wait_for()
        assert f"rate={campaign}" in page.url
        page.goto(address)
        page.get_by_role("tab", name="Rate").click()


def test_what_was_compared_is_judged_and_revealed(visit: Any) -> None:
    page = visit()
    page.get_by_role("tab", name="Rate").click()
    act(on(page, "free"), "free", "free")
    act(on(page, "code"), "code", "begin")
    on(page, "task").wait_for_timeout(SETTLED)
    assert set(shown(page)[1:]) == set(TEXTS)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    assert "Zanzibar" in on(page, "rest").locator("[data-screen=rest] .reveal").text_content()
    act(page, "rest", "free")
    notice(page, "every pair")


# --- what goes wrong


def test_a_judgement_outlives_a_locked_database_and_a_reload_and_is_kept_once(
    visit: Any, folder: Path, storage: Storage
) -> None:
    campaign = studied(storage, 3, **PLAIN)
    page, code = begun(visit, campaign)
    with closing(sqlite3.connect(folder / "ratings.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        page.keyboard.press("2")
        notice(page, "Not kept yet: the database is")
        notice(page, "stays in this browser and is sent again")
        page.keyboard.press("1")  # nothing else is judged meanwhile
        page.reload()
        notice(page, "Not kept yet")
        assert standing(storage, campaign, code) == []
    at(on(page, "task"), 2, 3)
    notice(page, "Kept: a judgement that had waited")
    assert standing(storage, campaign, code) == ["right"]
    page.keyboard.press("1")
    at(page, 3, 3)
    page.reload()
    at(on(page, "task"), 3, 3)
    assert standing(storage, campaign, code) == ["right", "left"]
    assert len(rows(storage, campaign)) == 2
    assert page.evaluate("localStorage.getItem('eft-lab.rate.unsent')") == "{}"


def test_a_receipt_that_got_lost_is_asked_for_again(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 2, **PLAIN)
    page, code = begun(visit, campaign)
    lost: list[str] = []

    def lose(route: Any) -> None:
        """The first judgement reaches the server, its receipt never comes back."""
        sent = route.request.post_data or ""
        if '"cast"' in sent and not lost:
            lost.append(sent)
            route.fetch()  # and not a word to the page
        else:
            route.continue_()

    page.route("**/*", lose)
    page.keyboard.press("1")
    notice(page, "the server does not answer")
    at(page, 2, 2)
    assert len(lost) == 1
    assert standing(storage, campaign, code) == ["left"]
    assert len(rows(storage, campaign)) == 1
    page.unroute("**/*")


def test_texts_of_others_are_shown_and_never_run(visit: Any, storage: Storage) -> None:
    campaign = studied(
        storage,
        2,
        contenders=CONTENDERS,
        title=HOSTILE,
        guidelines=HOSTILE,
        tags=(HOSTILE[:40],),
        reveal=True,
    )
    hostile = {"text": HOSTILE, "label": HOSTILE}
    with storage.writing() as writer:
        mine = select(items.c.id).where(items.c.campaign == campaign)
        writer.connection.execute(update(items).where(items.c.id.in_(mine)).values(prompt=HOSTILE))
        here = generations.c.item.in_(mine)
        writer.connection.execute(update(generations).where(here, generations.c.place == 0).values(**hostile))
    page = on(visit(f"?rate={campaign}"), "start")
    assert page.locator(".rate .title").text_content() == HOSTILE
    assert page.locator("[data-screen=start] .guidelines").text_content() == HOSTILE
    act(page, "start", "start")
    act(on(page, "code"), "code", "begin")
    at(page, 1, 2)
    assert shown(page)[0] == HOSTILE
    assert HOSTILE in shown(page)[1:]
    assert page.locator(".rate .chip").text_content() == HOSTILE[:40]
    page.locator(".rate .chip").click()
    page.locator(".rate textarea").fill(HOSTILE)
    page.keyboard.press("Control+Enter")  # nothing is chosen: nothing is sent
    page.locator("[data-verdict=left]").click()
    page.locator("[data-act=cast]").click()
    at(page, 2, 2)
    assert HOSTILE in page.locator("[data-screen=task] .reveal").text_content()
    page.keyboard.press("u")
    at(page, 1, 2)
    assert page.locator(".rate textarea").input_value() == HOSTILE
    page.keyboard.press("g")
    assert page.locator(".rate dialog .guidelines").text_content() == HOSTILE


# --- whose it is


def test_deleting_is_asked_twice_and_leaves_nothing(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 3, **PLAIN)
    page, code = begun(visit, campaign)
    page.keyboard.press("1")
    at(page, 2, 3)
    act(page, "task", "data")
    assert code in page.locator(".rate dialog").text_content()
    page.get_by_role("button", name="Delete my data").click()
    assert standing(storage, campaign, code) == ["left"]
    page.get_by_role("button", name="Delete now").click()
    on(page, "start")
    notice(page, "Deleted: 1 judgement")
    assert rows(storage, campaign) == []
    with pytest.raises(ValueError, match="not known"):
        Desk(storage).history(campaign, Who(code))


def test_a_study_that_asks_for_an_account_cannot_be_begun_without(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 2, identity="login", **PLAIN)
    page = on(visit(f"?rate={campaign}"), "start")
    assert page.locator("[data-act=start]").is_disabled()
    assert "on a Space alone" in page.locator(".rate .who").text_content()
    assert "user name" in page.locator("[data-screen=start] ul").text_content()


def test_who_has_signed_in_judges_under_their_name_which_no_message_can_give(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("itsdangerous")
    pytest.importorskip("authlib")
    storage = storage_of(tmp_path)
    campaign = studied(storage, 2, identity="login", **PLAIN)
    space = {"SYSTEM": "spaces", "SPACE_ID": "somebody/eft-lab", "OAUTH_CLIENT_ID": "id", "OAUTH_SCOPES": "openid"}
    provider = {"OAUTH_CLIENT_SECRET": "secret", "OPENID_PROVIDER_URL": "http://127.0.0.1:9"}
    with rating_served(tmp_path, **space, **provider) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{address}?rate={campaign}")
        assert on(page, "start").locator("[data-act=start]").is_disabled()
        page.get_by_role("button", name="Sign in with Hugging Face").wait_for()
        context.add_cookies([{"name": "session", "value": session_cookie("secret", "ada"), "url": address}])
        page.reload()
        on(page, "start").get_by_text("Signed in as ada").wait_for()
        act(page, "start", "start")
        at(on(page, "task"), 1, 2)
        page.keyboard.press("1")
        at(page, 2, 2)
        context.add_cookies([{"name": "session", "value": session_cookie("guessed", "eve"), "url": address}])
        page.keyboard.press("1")
        notice(page, "sign in")
        context.close()
    with storage.reading() as connection:
        assert connection.scalars(select(annotators.c.login)).all() == ["ada"]
        assert connection.scalar(select(func.count()).select_from(ratings)) == 1
    storage.close()


# --- phones


@pytest.mark.parametrize("width", [390, 1024])
def test_nothing_is_wider_than_the_screen_and_the_choice_is_in_reach(visit: Any, storage: Storage, width: int) -> None:
    campaign = studied(storage, 2, **EVERYTHING)
    page = on(visit(f"?rate={campaign}", width=width), "start")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    act(page, "start", "start")
    act(on(page, "code"), "code", "begin")
    on(page, "task")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for verdict in ("left", "right", "both_good", "both_bad", "unsure"):
        box = page.locator(f"[data-verdict={verdict}]").bounding_box()
        assert box["height"] >= 40
        assert box["y"] + box["height"] <= 900, "without scrolling"
    if width < 640:
        for button in page.locator(".rate [data-screen=task] button:visible").all():
            assert button.bounding_box()["height"] >= 40


def test_a_judgement_of_the_page_is_one_that_the_desk_would_take(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 1, **EVERYTHING)
    page, code = begun(visit, campaign)
    sent: list[Any] = []
    page.on(
        "request", lambda request: sent.append(request.post_data) if '"cast"' in (request.post_data or "") else None
    )
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    on(page, "rest")
    message = json.loads(sent[0])["event_data"]
    assert Judgement.of(message["judgement"]).verdict == "left"
    assert set(message) == {"id", "act", "campaign", "code", "judgement"}
    assert message["code"] == code
