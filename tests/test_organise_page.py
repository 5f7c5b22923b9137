"""The organiser's page in chromium: who gets in, a campaign made, steered and exported, hostile texts, phones."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from organise_server import PASSWORD, organise_served, storage_of
from serving import HOSTILE
from signed_in import session_cookie
from studied import CONTENDERS, rated, studied

from eft_core.ratings.campaign import Contender
from eft_core.ratings.desk import Desk
from eft_core.ratings.office import Office
from eft_core.storage import Storage

TITLE = "Which of both answers is better"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("organise")


@pytest.fixture(scope="module")
def storage(folder: Path) -> Iterator[Storage]:
    opened = storage_of(folder)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def address(folder: Path, storage: Storage) -> Iterator[str]:
    with organise_served(folder) as address:
        yield address


def enter(page: Any, password: str = PASSWORD) -> Any:
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")
    return page


def signed_in(page: Any) -> Any:
    """Sign in, and wait for the campaigns; the page."""
    enter(page).wait_for_selector(".campaigns .campaign, .campaigns .none:visible")
    return page


def chosen(page: Any, title: str) -> Any:
    """Choose a campaign of the list; the page."""
    page.locator(".campaign", has_text=title).click()
    page.wait_for_function("title => document.querySelector('.one h2').textContent === title", arg=title)
    return page


def says(page: Any, text: str, place: str = ".campaigns .status") -> None:
    page.wait_for_function(
        "([place, text]) => document.querySelector(place)?.textContent.includes(text)", arg=[place, text]
    )


def prompts_file(folder: Path, *texts: str) -> Path:
    file = folder / "prompts.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["prompt"])
        writer.writerows([text] for text in texts)
    return file


# --- in and out


def test_nothing_is_told_before_the_password_nor_after_signing_out(visit: Any, storage: Storage) -> None:
    studied(storage, 2, title="A secret study")
    page = visit()
    enter(page, "a wrong password")
    says(page, "This is not the password", "#organise-word")
    assert not page.locator("#organise").is_visible()
    assert "A secret study" not in page.content()
    assert "A secret study" not in page.evaluate("JSON.stringify(gradio_config)")
    signed_in(page)
    page.locator(".campaign", has_text="A secret study").wait_for()
    assert page.get_by_label("Password").count() == 0 or not page.get_by_label("Password").is_visible()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Password").wait_for()
    assert page.get_by_label("Password").input_value() == ""
    assert not page.locator("#organise").is_visible()
    assert "A secret study" not in page.content()


def test_without_a_password_the_page_says_how_to_set_one(browser: Any, tmp_path: Path) -> None:
    with organise_served(tmp_path, password="") as address:
        page = browser.new_page()
        page.goto(address)
        says(page, "EFT_ORGANISER_PASSWORD", "#organise-word")
        assert page.get_by_label("Password").count() == 0
        assert page.get_by_role("button", name="Sign in").count() == 0
        page.context.close()


def test_an_account_of_an_organiser_is_let_in_and_no_other(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("itsdangerous")
    pytest.importorskip("authlib")
    space = {"SYSTEM": "spaces", "SPACE_ID": "somebody/eft-lab", "OAUTH_CLIENT_ID": "id", "OAUTH_SCOPES": "openid"}
    provider = {"OAUTH_CLIENT_SECRET": "secret", "OPENID_PROVIDER_URL": "http://127.0.0.1:9"}
    with organise_served(tmp_path, "", "ada grace", **space, **provider) as address:
        context = browser.new_context()
        page = context.new_page()
        for secret, name in (("secret", "eve"), ("guessed", "ada")):
            context.add_cookies([{"name": "session", "value": session_cookie(secret, name), "url": address}])
            page.goto(address)
            page.get_by_role("button", name="Hugging Face").or_(page.get_by_role("button", name="Logout")).wait_for()
            page.wait_for_timeout(500)
            assert not page.locator("#organise").is_visible()
        context.add_cookies([{"name": "session", "value": session_cookie("secret", "ada"), "url": address}])
        page.goto(address)
        page.wait_for_selector(".campaigns .none:visible")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("button", name="Sign in with Hugging Face").wait_for()
        assert not page.locator("#organise").is_visible()
        context.add_cookies([{"name": "session", "value": session_cookie("secret", "ada"), "url": address}])
        page.goto(address)
        page.wait_for_selector(".campaigns .none:visible")
        context.add_cookies([{"name": "session", "value": session_cookie("guessed", "ada"), "url": address}])
        page.get_by_role("tab", name="New campaign").click()
        says(page, "You are not signed in", ".draft .status")
        context.close()


# --- a campaign is made


def test_a_campaign_is_made_from_a_file_and_its_link_is_shown(visit: Any, storage: Storage, tmp_path: Path) -> None:
    page = signed_in(visit())
    page.get_by_role("tab", name="New campaign").click()
    says(page, "Add a file of prompts", ".draft .status")
    file = prompts_file(tmp_path, *(f"What is {number} + 1?" for number in range(7)))
    page.locator("#organise-form input[type=file]").set_input_files(file)
    says(page, "7 prompts × 4 policies = 28 answers; 6 pairs × 7 prompts × 3 ratings = 126 judgements.", ".draft .cost")
    assert page.locator(".draft .prompts li").count() == 5
    page.get_by_label("Large tuned: helpful(large)").uncheck()
    page.get_by_label("Listed").check()
    page.get_by_label("Which, by the policies' numbers").fill("1-3")
    says(page, "1 pair × 7 prompts × 3 ratings = 21 judgements.", ".draft .cost")
    page.get_by_role("button", name="Create campaign").click()
    says(page, "1 to 200 characters", ".draft .status")
    page.get_by_label("Title").fill(TITLE)
    page.get_by_role("button", name="Create campaign").click()
    says(page, "Created: send raters its link.")
    page.wait_for_function("title => document.querySelector('.one h2').textContent === title", arg=TITLE)
    summary = Office(storage).campaigns()[0]
    assert (summary.title, summary.items, summary.state) == (TITLE, 7, "running")
    assert summary.plan is not None
    assert summary.plan.pairs == ((0, 2),)
    link = page.get_by_label("Link for raters").input_value()
    assert link.endswith(f"/?rate={summary.id}")
    assert "/organise" not in link
    page.get_by_role("tab", name="New campaign").click()
    page.get_by_role("button", name="Create campaign").click()
    says(page, "There is a campaign of this title already", ".draft .status")


def test_the_sample_file_is_one_that_the_page_takes(visit: Any, tmp_path: Path) -> None:
    page = signed_in(visit())
    page.get_by_role("tab", name="New campaign").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Sample file").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    page.locator("#organise-form input[type=file]").set_input_files(file)
    says(page, "3 prompts, 1 of them gold", ".draft .count")
    says(page, "gold: The capital of France is Paris.", ".draft .prompts")


def test_mistakes_in_files_and_policies_name_the_line(visit: Any, tmp_path: Path) -> None:
    page = signed_in(visit())
    page.get_by_role("tab", name="New campaign").click()
    page.locator("#organise-form input[type=file]").set_input_files(prompts_file(tmp_path, "Why?", "  "))
    says(page, "Line 3 of prompts.csv: the prompt is empty.", ".draft .status")
    page.get_by_role("button", name="Your own").click()
    page.get_by_label("One a line").fill('wrong = {"pretrain": "huge"}')
    says(page, "Line 1 of your own policies: atlas has no size 'huge'", ".draft .status")


def test_hostile_texts_are_shown_as_they_are(visit: Any, storage: Storage, tmp_path: Path) -> None:
    title, label = HOSTILE[:200], HOSTILE[:80]
    studied(
        storage, 1, title=title, guidelines=HOSTILE, contenders=(Contender(label, CONTENDERS[0].policy), CONTENDERS[1])
    )
    page = chosen(signed_in(visit()), title)
    says(page, f"{label}: base(large)", ".plan dl")
    assert page.locator(".plan dd").last.text_content() == HOSTILE
    assert page.locator(".pairs .name").text_content() == f"{label} against small tuned"
    page.get_by_role("tab", name="New campaign").click()
    page.get_by_label("Title").fill(f"{title[:-1]}!")
    page.get_by_role("button", name="Your own").click()
    page.get_by_label("One a line").fill(f'{label.replace("=", "")} = {{"pretrain": "medium"}}')
    page.locator("#organise-form input[type=file]").set_input_files(prompts_file(tmp_path, HOSTILE))
    page.wait_for_selector(".draft .prompts .prompt")
    assert page.locator(".draft .prompt").text_content().startswith(HOSTILE[:150])
    assert page.locator(".draft .policies .label").last.text_content() == label.replace("=", "").strip()
    assert page.locator("#organise :is(script, img[src=x])").count() == 0


# --- and looked at


def test_a_campaign_is_paused_resumed_and_closed_only_when_asked_twice(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 1, title="Steered")
    page = chosen(signed_in(visit()), "Steered")

    def state() -> str:
        return next(each.state for each in Office(storage).campaigns() if each.id == campaign)

    page.get_by_role("button", name="Pause").click()
    says(page, "Paused")
    assert state() == "paused"
    page.get_by_role("button", name="Resume").click()
    says(page, "Raters are let in")
    assert state() == "running"
    page.locator(".tools").get_by_role("button", name="Close").click()
    says(page, "Raters can judge no more", ".ask p")
    page.get_by_role("button", name="Cancel").click()
    assert state() == "running"
    page.locator(".tools").get_by_role("button", name="Close").click()
    page.locator(".ask").get_by_role("button", name="Close").click()
    says(page, "Closed.")
    assert state() == "closed"
    assert page.locator(".tools button").all_text_contents() == ["Open again"]


def test_a_raters_votes_are_taken_out_with_a_reason_and_put_back(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 2, title="With a bot")
    rated(storage, campaign)
    page = chosen(signed_in(visit()), "With a bot")
    name = page.locator(".raters .name").first.text_content()
    page.get_by_role("button", name="Take votes out").first.click()
    says(page, name, ".ask p")
    page.get_by_label("Reason").fill(HOSTILE)
    page.keyboard.press("Enter")
    says(page, "The votes are out of the results")
    assert page.locator(".raters .reason").text_content() == f"Taken out: {HOSTILE}"
    [out] = [each for each in Office(storage).by_annotator(campaign) if each["excluded"]]
    assert (out["name"], out["excluded"]) == (name, HOSTILE)
    page.get_by_role("button", name="Put back").click()
    says(page, "The votes count again")
    assert not any(each["excluded"] for each in Office(storage).by_annotator(campaign))


def test_progress_is_live_while_it_is_in_view_and_asks_for_nothing_otherwise(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 2, title="Live")
    page = chosen(signed_in(visit()), "Live")
    says(page, "Nobody has begun yet", ".raters")
    rated(storage, campaign)
    says(page, "of 12", ".meters")
    page.wait_for_function("document.querySelectorAll('.raters tbody tr').length === 2")
    assert page.locator(".pairs .number").all_text_contents() == ["4 of 4"] * 3
    page.get_by_role("tab", name="New campaign").click()
    says(page, "Add a file", ".draft .status")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    page.wait_for_timeout(5500)
    assert asked == []
    page.get_by_role("tab", name="Campaigns").click()
    page.wait_for_timeout(5500)
    assert asked


def test_exports_are_handed_over_with_what_is_left_out(visit: Any, storage: Storage, tmp_path: Path) -> None:
    campaign = studied(storage, 4, title="To export")
    rated(storage, campaign)
    page = chosen(signed_in(visit()), "To export")
    form = page.locator(".export")

    def downloaded(title: str, *options: str, pair: str = "") -> Path:
        form.get_by_label("Form").select_option(title)
        if pair:
            form.get_by_label("Pair").select_option(pair)
        for option in options:
            form.get_by_label(option).check()
        with page.expect_download() as download:
            form.get_by_role("button", name="Download").click()
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        return file

    rows = downloaded("Preference (TRL)", "as messages").read_text(encoding="utf-8").splitlines()
    told = page.locator(".export .counts").text_content()
    assert told.startswith(f"{len(rows)} rows; left out: ")
    assert "both good" in told
    assert [turn["role"] for turn in json.loads(rows[0])["prompt"]] == ["user"]
    assert len(pd.read_parquet(downloaded("Table (Parquet)"))) == 24
    head = downloaded("Everything (JSON lines)").read_text(encoding="utf-8").splitlines()[0]
    assert json.loads(head)["campaigns"] == [campaign]
    file = downloaded("LLM Comparator (JSON)", pair="small tuned against up-scaled")
    compared = json.loads(file.read_text(encoding="utf-8"))
    assert [each["name"] for each in compared["models"]] == ["small tuned", "up-scaled"]


def test_an_export_that_cannot_be_made_says_why(visit: Any, storage: Storage) -> None:
    studied(storage, 1, title="Without a vote")
    page = chosen(signed_in(visit()), "Without a vote")
    page.locator(".export").get_by_label("Form").select_option("LLM Comparator (JSON)")
    page.locator(".export").get_by_role("button", name="Download").click()
    says(page, "There are no judgements", ".export .counts")


def test_keys_alone_choose_and_close_a_campaign(visit: Any, storage: Storage) -> None:
    campaign = studied(storage, 1, title="By keys")
    Desk(storage).join(campaign)
    page = signed_in(visit())
    page.locator(".campaign", has_text="By keys").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.one h2').textContent === 'By keys'")
    assert page.evaluate("document.activeElement.dataset.campaign") == campaign
    page.locator(".tools").get_by_role("button", name="Close").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    says(page, "Closed.")


# --- phones


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1024])
def test_nothing_is_wider_than_the_screen(visit: Any, storage: Storage, width: int, scheme: str) -> None:
    title = f"Wide {width} {scheme}"
    rated(storage, studied(storage, 2, title=title))
    page = chosen(signed_in(visit(width=width, scheme=scheme)), title)
    page.locator(".plan summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("tab", name="New campaign").click()
    says(page, "Add a file", ".draft .status")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".nav-holder").is_hidden()
    ground = {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
    assert page.get_by_label("Title").evaluate("each => getComputedStyle(each).backgroundColor") == ground
