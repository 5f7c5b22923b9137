"""The Models tab in chromium: load, stop and unload, the doctor, new families, hostile texts; and over raw HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from models_server import models_served
from serving import HOSTILE

from eft_core.toml import written


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def address(folder: Path, families_file: str) -> Iterator[str]:
    with models_served(families_file, folder) as address:
        yield address


def opened(page: Any) -> Any:
    """The tab, with what it shows; the page."""
    page.get_by_role("tab", name="Models").click()
    page.wait_for_selector(".own table")
    page.wait_for_selector(".all .family")
    return page


def says(page: Any, text: str, place: str = ".going") -> None:
    page.wait_for_function(
        "([place, text]) => document.querySelector(place)?.textContent.includes(text)", arg=[place, text]
    )


def family(page: Any, title: str) -> Any:
    """A family's entry in the list of all."""
    return page.locator(".family", has=page.get_by_role("heading", name=title, exact=True))


def form(page: Any) -> Any:
    """The form of a new family, unfolded; the page."""
    page.locator("#models-adding > button").click()
    page.wait_for_selector(".adding [name=name]:visible")
    return page


def test_members_are_loaded_and_let_go_with_progress(visit: Any) -> None:
    page = opened(visit())
    assert page.locator(".own tbody tr").count() == 5
    page.evaluate(
        """() => {
            window.seen = [];
            const note = () => seen.push(document.querySelector('.steps')?.getAttribute('aria-valuenow'));
            new MutationObserver(note).observe(document.querySelector('#models-going'),
                { subtree: true, childList: true, attributes: true });
        }"""
    )
    page.locator(".own").get_by_role("button", name="Load", exact=True).click()
    says(page, "Tiny llama is in memory.")
    assert page.locator(".own td.loaded").count() == 4
    assert "3" in page.evaluate("window.seen")
    assert "4 in memory" in family(page, "Tiny llama").inner_text()
    page.locator(".own").get_by_role("button", name="Unload").click()
    says(page, "left the memory")
    assert page.locator(".own td.loaded").count() == 0
    assert page.locator(".own").get_by_role("button", name="Unload").is_disabled()


def test_a_family_of_the_list_is_loaded_and_filtered(visit: Any) -> None:
    page = opened(visit())
    one = family(page, "Tiny gpt2")
    assert one.get_by_role("link").get_attribute("href") == "./families/gpt2/"
    one.get_by_role("button", name="Load", exact=True).click()
    says(page, "Tiny gpt2 is in memory.")
    one.get_by_role("button", name="Unload").click()
    says(page, "Tiny gpt2 left the memory.")
    page.get_by_label("On this machine").check()
    assert not family(page, "SmolLM2").is_visible()
    assert one.is_visible()


def test_a_download_tells_its_share_and_stops(visit: Any) -> None:
    page = opened(visit())
    family(page, "SmolLM2").get_by_role("button", name="Download").click()
    page.wait_for_selector(".going progress")
    says(page, "of 5.0 MB")
    page.get_by_role("button", name="Stop").click()
    says(page, "stopped; what was read stays")


def test_the_doctor_reports_when_the_section_is_opened(visit: Any) -> None:
    page = opened(visit())
    assert page.locator(".report table").count() == 0
    page.locator("#models-vocabulary > button").click()
    page.wait_for_selector(".report table")
    assert page.locator(".report [data-verdict='same after slicing']").count() == 2
    row = page.locator(".report tr", has=page.get_by_role("rowheader", name="base[large]"))
    assert "same after slicing" in row.inner_text()
    assert page.locator(".report .evidence dt").count() == 5


def test_a_family_is_checked_and_added_by_the_form_and_removed(visit: Any, families_file: str, folder: Path) -> None:
    place = Path(families_file).parent
    page = form(opened(visit()))
    page.fill(".adding [name=name]", "mine")
    page.fill(".adding [name=title]", HOSTILE[:200])
    page.fill(".adding [name=behaviours]", "kind")
    page.get_by_label("base[small]", exact=True).fill(f"{place}/llama-small-base")
    page.get_by_label("base[large]", exact=True).fill("org/large")
    page.get_by_label("tuned[kind][small]", exact=True).fill("/nowhere")
    page.get_by_role("button", name="Check").click()
    says(page, "Nothing was added", ".outcome")
    assert "no checkpoint in /nowhere" in page.locator(".outcome [data-mark=bad]").inner_text()
    assert page.locator(".outcome [data-mark=later]").count() == 1
    assert page.get_by_label("base[large]", exact=True).input_value() == "org/large"  # nothing is lost
    page.get_by_label("tuned[kind][small]", exact=True).fill(f"{place}/llama-small-helpful")
    page.get_by_role("button", name="Check").click()
    says(page, "This can be added", ".outcome")
    assert not (folder / "families.toml").exists()
    page.get_by_role("button", name="Add family").click()
    says(page, "Added", ".outcome")
    assert '["mine"]' in (folder / "families.toml").read_text(encoding="utf-8")
    remove = page.locator("[data-act=remove]")
    assert remove.count() == 1
    assert "<script>" in page.locator(".family", has=remove).inner_text()
    remove.click()
    page.get_by_role("button", name="Press again to remove").click()
    says(page, "is forgotten")
    assert page.locator("[data-act=remove]").count() == 0


def test_a_family_is_added_by_toml_and_mistakes_keep_the_text(visit: Any, families_file: str) -> None:
    place = Path(families_file).parent / "llama-small-base"
    page = form(opened(visit()))
    page.get_by_label("TOML", exact=True).check()
    text = page.locator(".adding textarea")
    text.fill("[broken")
    page.get_by_role("button", name="Add family").click()
    says(page, "This is no TOML", ".outcome")
    assert text.input_value() == "[broken"
    text.fill(written({HOSTILE: {"sizes": ["s"], "base": {"s": str(place)}}}))
    page.get_by_role("button", name="Check").click()
    says(page, "part of an address", ".outcome")
    text.fill(written({"by-toml": {"title": HOSTILE, "sizes": ["s"], "base": {"s": str(place)}}}))
    page.get_by_role("button", name="Add family").click()
    says(page, "Added", ".outcome")
    assert page.locator("[data-act=remove][data-family=by-toml]").count() == 1


def test_a_narrow_page_does_not_scroll_sideways(visit: Any) -> None:
    page = form(opened(visit(width=390)))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def asked(address: str, target: str, event: str, data: Any, outputs: int, headers: dict[str, str]) -> list[Any]:
    """What a private event of the tab answers to anybody's HTTP requests; the last data of each output."""
    with httpx.Client(base_url=address, trust_env=False, timeout=30, headers=headers) as client:
        config = client.get("config").json()
        ids = [each["id"] for each in config["components"] if each["props"].get("elem_id") == target]
        [number] = [
            each["id"]
            for each in config["dependencies"]
            if [ids[0], event] in each["targets"] and len(each["outputs"]) == outputs
        ]
        body = {"fn_index": number, "data": [], "event_data": data, "session_hash": "stranger", "trigger_id": ids[0]}
        assert client.post("gradio_api/queue/join", json=body).status_code == 200
        answer = client.get("gradio_api/queue/data", params={"session_hash": "stranger"})
        told = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data")]
        return [each["output"]["data"] for each in told if each["msg"] in ("process_generating", "process_completed")]


@pytest.mark.parametrize(
    ("target", "data"),
    [
        ("models-own", {"act": "load", "family": "llama"}),
        ("models-families", {"act": "remove", "family": "by-toml"}),
        ("models-form", {"act": "add", "kind": "toml", "toml": '[x]\nsizes = ["s"]\nbase.s = "/etc"\n'}),
    ],
)
def test_a_stranger_changes_nothing_over_http(address: str, folder: Path, target: str, data: Any) -> None:
    kept = folder / "families.toml"
    before = kept.read_bytes() if kept.exists() else b""
    told = str(asked(address, target, "submit", data, 3, {"X-Forwarded-For": "10.1.2.3"}))
    assert "Read only" in told
    assert str(folder) not in told
    assert "/etc" not in told
    assert "4 in memory" not in told
    assert (kept.read_bytes() if kept.exists() else b"") == before


def test_what_is_no_wish_is_one_sentence_over_http(address: str) -> None:
    for data in (None, [HOSTILE], {"act": {}, "family": HOSTILE}, {"act": "load", "family": "x" * 10_000}):
        assert "reload it" in str(asked(address, "models-own", "submit", data, 3, {}))


def test_without_the_right_everything_is_shown_and_nothing_offered(visit: Any, families_file: str) -> None:
    page = opened(visit(extra_http_headers={"X-Forwarded-For": "10.1.2.3"}))
    assert "Read only" in page.locator(".own .readonly").inner_text()
    assert page.locator("#models-tab [data-act]:visible").count() == 0
    assert not page.locator("#models-adding").is_visible()
    assert page.locator(".own tbody tr").count() == 5
    assert str(Path(families_file).parent) not in page.content()
