"""The Models tab without a page: who may do what, what is told of families, and what its handlers do."""

import json
import time
import tomllib
from collections.abc import Generator, Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from serving import HOSTILE
from starlette.requests import Request

from components.families_list import families_html
from components.models_adding import Found, findings, tables_from
from components.models_facts import counted, family_facts, listed
from components.models_handlers import Manager, going
from components.models_html import family_html, found_html, report_html
from components.models_rights import ELSEWHERE, NOBODY, Caller, Rights, is_here
from eft_core.doctor import Finding, Report
from eft_core.events import Downloading, Loading, Queued, Working
from eft_core.job import Needs
from eft_core.lab import Lab
from eft_core.settings import Settings
from eft_core.tickets import Claim

HERE = Caller("127.0.0.1", "127.0.0.1", {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7860"})


@pytest.fixture
def lab(families_file: str, tmp_path: Path) -> Lab:
    return Lab(Settings(family="llama", families_file=families_file, device="cpu", threads=1, data_dir=str(tmp_path)))


@pytest.fixture
def manager(lab: Lab) -> Manager:
    return Manager(lab, lab.session(), Rights(None))


def request(visitor: str = "page", client: str = "127.0.0.1", **headers: str) -> gr.Request:
    """A request as gradio hands it to a handler; a "_" in a header's name stands for "-"."""
    sent = {"host": "127.0.0.1:7860"} | {name.replace("_", "-"): text for name, text in headers.items()}
    scope = {
        "type": "http",
        "headers": [(name.encode(), text.encode()) for name, text in sent.items()],
        "client": (client, 1),
        "server": ("127.0.0.1", 7860),
    }
    return gr.Request(Request(scope), session_hash=visitor)


def event(**data: Any) -> Any:
    return SimpleNamespace(_data=data)


def acted(manager: Manager, asked: gr.Request | None = None, **wish: Any) -> list[Any]:
    """All that a wish brings, output by output in the order of the updates."""
    return list(manager.act(event(**wish), asked or request()))


# --- who may


@pytest.mark.parametrize(
    ("rights", "caller", "refused"),
    [
        (Rights(None), HERE, ""),
        (Rights(True), replace(HERE, client="10.1.2.3"), ""),
        (Rights(True, space=True, listens="0.0.0.0"), Caller(), ""),
        (Rights(False), HERE, NOBODY),
        (Rights(None, space=True), HERE, ELSEWHERE),
        (Rights(None, listens="0.0.0.0"), HERE, ELSEWHERE),
        (Rights(None, listens="localhost"), HERE, ""),
        (Rights(None), Caller(), ELSEWHERE),
    ],
)
def test_the_settings_decide_and_else_this_machine_alone_may(rights: Rights, caller: Caller, refused: str) -> None:
    assert rights.refusal(caller) == refused


@pytest.mark.parametrize(
    ("caller", "here"),
    [
        (HERE, True),
        (replace(HERE, client="::1", server="::1", headers={"host": "[::1]:7860"}), True),
        (replace(HERE, headers={"host": "localhost"}), True),
        (replace(HERE, client="10.1.2.3"), False),
        (replace(HERE, server="10.1.2.3"), False),
        (replace(HERE, headers={"host": "rebound.example:7860"}), False),
        (replace(HERE, headers={"host": "localhost:7860", "origin": "https://evil.example"}), False),
        (replace(HERE, headers={"host": "localhost:7860", "origin": "null"}), False),
        (replace(HERE, headers={"host": "localhost:7860", "origin": "http://[broken"}), False),
        (replace(HERE, headers={**HERE.headers, "x-forwarded-for": "10.1.2.3"}), False),
        (replace(HERE, headers={**HERE.headers, "forwarded": "for=10.1.2.3"}), False),
        (replace(HERE, headers={}), False),
    ],
)
def test_a_request_is_of_this_machine_if_nothing_says_otherwise(caller: Caller, here: bool) -> None:
    assert is_here(caller) == here


def test_the_environment_says_how_the_server_is_reached() -> None:
    assert Rights.of(None, {}) == Rights(None)
    assert Rights.of(None, {"SPACE_ID": "a/b", "GRADIO_SERVER_NAME": "0.0.0.0"}) == Rights(None, True, "0.0.0.0")


@pytest.mark.parametrize(("text", "manage"), [("1", True), ("0", False), ("", None), (None, None)])
def test_eft_manage_is_read(text: str | None, manage: bool | None) -> None:
    environ = {} if text is None else {"EFT_MANAGE": text}
    assert Settings.from_environment(environ).manage is manage


def test_another_eft_manage_is_refused() -> None:
    with pytest.raises(ValueError, match="EFT_MANAGE = 'yes' is not known: use 1, 0"):
        Settings.from_environment({"EFT_MANAGE": "yes"})


@pytest.mark.parametrize("asked", [request(x_forwarded_for="10.0.0.9"), request(client="10.0.0.9"), gr.Request()])
def test_no_handler_changes_anything_without_the_right(manager: Manager, asked: gr.Request, tmp_path: Path) -> None:
    manager = replace(manager, download=lambda name: pytest.fail("it downloads"))
    for act in ("load", "unload", "download", "remove"):
        [[told, own, _]] = acted(manager, asked, act=act, family="llama")
        assert "Read only" in told
        assert escape(ELSEWHERE) in own
    wish = event(act="add", kind="toml", toml='[x]\nsizes = ["s"]\nbase.s = "/etc"\n')
    [[told, *_]] = manager.adding(wish, asked)
    assert "Read only" in told
    assert "/etc" not in told
    manager.halt(asked)
    assert manager.lab.loaded("llama") == []
    assert not manager.lab.added_file.exists()


def test_places_on_the_disk_are_told_to_managers_alone(manager: Manager, families_file: str) -> None:
    folder = str(Path(families_file).parent)
    mine, theirs = "".join(manager.show(request())), "".join(manager.show(request(client="10.0.0.9")))
    assert folder in mine
    assert folder not in theirs + manager.report(request(client="10.0.0.9"))
    assert "llama-small-harmless" in theirs
    assert "data-act" not in theirs
    assert [each["visible"] for each in (manager.open(request())[2], manager.open(request(client="10.0.0.9"))[2])] == [
        True,
        False,
    ]


def test_damaged_files_are_told_to_managers_with_their_place(lab: Lab, families_file: str, tmp_path: Path) -> None:
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "config.json").write_text("not json")
    lab.add("broken", {"sizes": ["s"], "base": {"s": str(folder)}})
    session = lab.session("broken")
    for manage in (True, False):
        facts = family_facts(lab, session, manage)
        text = family_html(facts, "", False)
        assert (str(folder) in text) == manage
        assert facts.members[0].here
        assert facts.refusal
        assert 'class="bad"' in text
        assert "data-bad" in text


# --- what is told


def test_members_tell_where_they_are_and_what_they_take(lab: Lab) -> None:
    list(lab.load("llama"))
    facts = family_facts(lab, lab.session(), True)
    small, large = facts.members[:2]
    assert (small.here, small.loaded, small.published, small.device, small.format) == (
        True,
        True,
        False,
        "cpu",
        "float32",
    )
    assert small.parameters
    assert small.weights
    assert large.weights
    assert small.weights == 4 * small.parameters < large.weights
    assert [str(each.member) for each in facts.members if not each.loaded] == ["tuned[harmless][small]"]
    [device] = facts.devices
    assert device.loaded == device.weights
    assert device.needed == device.cache
    text = family_html(facts, "", False)
    assert text.count(">in memory</td>") == 4
    assert "Download" not in text
    assert "<th scope=" in text


def test_a_plan_that_does_not_fit_is_refused_with_advice(lab: Lab) -> None:
    tight = Lab(replace(lab.settings, memory_gb=1e-6))
    facts = family_facts(tight, tight.session(), False)
    assert "raise EFT_MEMORY_GB" in facts.refusal
    assert "raise EFT_MEMORY_GB" in family_html(facts, "", False)


def test_what_is_not_here_is_told_from_published_counts(lab: Lab) -> None:
    session = lab.session("smollm2")
    facts = family_facts(lab, session, False)
    assert not any(each.here for each in facts.members)
    assert facts.members[0].parameters == 134_500_000
    text = family_html(facts, "", True)
    assert "≈ 135M" in text or "≈ 134M" in text
    assert "About " in text
    assert "Download 4 missing" in text


def test_all_families_are_listed_those_here_first_and_doubts_marked(lab: Lab) -> None:
    families = listed(lab, "llama", False)
    assert families[0].family.name == "llama"
    assert [bool(each.here) for each in families] == sorted([bool(each.here) for each in families], reverse=True)
    text = families_html(families, "float32", False)
    assert '<a href="./families/smollm2/">' in text
    assert "Qwen Research licence" in text
    assert text.count('class="doubt"') >= 4
    assert '<a href="../../">' in families_html(listed(lab, "gpt2", False), "float32", False)


def test_no_text_of_a_family_is_markup(lab: Lab, families_file: str) -> None:
    place = str(Path(families_file).parent / "llama-small-base")
    table: dict[str, Any] = {"title": HOSTILE, "description": HOSTILE, "licence": HOSTILE, "sizes": [HOSTILE]}
    table |= {"unconfirmed": [HOSTILE], "base": {HOSTILE: place}, "tuned": {HOSTILE: {HOSTILE: place}}}
    lab.add(HOSTILE, table)
    session = lab.session(HOSTILE)
    found = Finding(HOSTILE, "same", HOSTILE, (HOSTILE,), 1, 1, 0, (HOSTILE,), HOSTILE, HOSTILE, HOSTILE)
    shown = [
        family_html(family_facts(lab, session, True), HOSTILE, True),
        families_html(listed(lab, HOSTILE, True), "float32", True),
        report_html(Report(HOSTILE, 1, frozenset(), (found,)), (HOSTILE,)),
        found_html([Found(HOSTILE, "bad", HOSTILE)], HOSTILE),
        *(going(each, HOSTILE) for each in (Queued(1), Loading(HOSTILE, 1, 1, (HOSTILE,)), Downloading(HOSTILE, 1, 2))),
    ]
    for text in shown:
        assert "&lt;script&gt;" in text
        assert "<script" not in text
        assert "<img" not in text
        assert "onerror='" not in text


def test_counts_are_short() -> None:
    assert [counted(number) for number in (12, 231_744, 134_500_000, 7_000_000_000)] == ["12", "232k", "134M", "7B"]


def test_the_report_has_all_facts_and_names_what_is_missing(manager: Manager) -> None:
    text = manager.report(request())
    assert "tuned[helpful][small]" in text
    assert 'data-verdict="same after slicing"' in text
    assert "&lt;|end|&gt;" in text
    assert "Not examined" not in text
    missing = replace(manager, session=manager.lab.session("smollm2"))
    assert "No report." in missing.report(request())


# --- what is done


def test_a_family_is_loaded_and_let_go_with_its_progress(manager: Manager) -> None:
    updates = acted(manager, act="load", family="gpt2")
    told = [update[0] for update in updates]
    assert any('aria-valuenow="3"' in each for each in told)
    assert "Tiny gpt2 is in memory." in told[-1]
    assert "4 in memory" in updates[-1][2]
    assert len(manager.lab.loaded("gpt2")) == 4
    assert "left the memory" in acted(manager, act="unload", family="gpt2")[-1][0]
    assert manager.lab.loaded("gpt2") == []


def test_what_had_to_go_is_told(manager: Manager) -> None:
    told = going(Loading("base[large]", 2, 4, ("/models/old",)), "Tiny")
    assert "Tiny: loading base[large] (2 of 4); freed /models/old to make room." in told
    assert 'aria-valuenow="1"' in told
    assert told.count('data-state="next"') == 2


def test_whoever_waits_is_told_and_can_stop(manager: Manager) -> None:
    def script(owner: object) -> Generator[list[Any], None, None]:
        while True:
            yield [Working()]

    ahead = manager.session._engine.follow(Claim(manager.session, 1, Needs(), alone=True), script)
    next(ahead)  # somebody else's turn
    updates = manager.act(event(act="load", family="gpt2"), request())
    for update in updates:
        if "waiting, for 1 request runs before this" in update[0]:
            manager.halt(request("another"))  # no other page's Stop reaches it
            manager.halt(request())
        last = update
    assert "stopped" in last[0]
    while manager.lab.standing().waiting:  # it goes within a tenth of a second
        time.sleep(0.01)
    ahead.close()
    list(manager.lab.load("neox"))  # comes to its turn
    assert manager.lab.loaded("gpt2") == []
    assert manager.session.queue_length == 0


def test_a_page_that_goes_away_frees_its_place(manager: Manager) -> None:
    updates = manager.act(event(act="load", family="llama"), request())
    assert isinstance(updates, Generator)
    next(updates)
    updates.close()
    list(manager.lab.load("gpt2"))  # comes to its turn
    assert len(manager.lab.loaded("gpt2")) == 4


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"act": "load", "family": "pear"}, "There is no family"),
        ({"act": "load", "family": ["llama"]}, "reload it"),
        ({"act": "load"}, "reload it"),
        ({"act": "burn", "family": "llama"}, "reload it"),
        ({"act": "download", "family": "llama"}, "reload it"),
        ({"act": "remove", "family": "gpt2"}, "was not added here"),
        ({"act": "remove", "family": "llama"}, "the family of the first page"),
        ({"act": "load", "family": "smollm2"}, "is not on this machine"),
    ],
)
def test_a_wrong_wish_is_one_sentence(manager: Manager, wish: dict[str, Any], told: str) -> None:
    assert told in acted(manager, **wish)[-1][0]
    assert manager.session.queue_length == 0


def test_downloads_tell_their_share(manager: Manager) -> None:
    def download(name: str) -> Iterator[Downloading]:
        yield Downloading(f"org/{name}", 0, 0)
        yield Downloading(f"org/{name}", 1_000_000, 4_000_000, 75.0)

    updates = acted(replace(manager, download=download), act="download", family="llama")
    words, bar = "org/llama: 1.0 MB of 4.0 MB (25%), 1 min 15 s left", 'value="0.2500"'
    assert any(words in each[0] and bar in each[0] for each in updates)
    assert "all of its files are here" in updates[-1][0]


# --- a new family


def filled(**other: Any) -> dict[str, Any]:
    """What the form sends."""
    blank = {"kind": "form", "name": "mine", "title": "Mine", "sizes": "small, large", "behaviours": "kind", "toml": ""}
    return blank | {"places": {"/small": "/a", "/large": "org/large", "kind/small": "/b"}} | other


def test_the_form_is_a_table_of_the_files_shape() -> None:
    assert tables_from(filled()) == {
        "mine": {
            "title": "Mine",
            "sizes": ["small", "large"],
            "default_pretrain": "large",
            "default_finetune": "small",
            "base": {"small": "/a", "large": "org/large"},
            "tuned": {"kind": {"small": "/b"}},
        }
    }


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"name": " "}, "needs a name"),
        ({"name": 3}, "must be a text"),
        ({"title": "x" * 2000}, "must be a text"),
        ({"sizes": " , "}, "needs sizes"),
        ({"sizes": "a, a"}, "stands there twice"),
        ({"sizes": ",".join(map(str, range(40)))}, "too many"),
        ({"places": None}, "did not arrive"),
        ({"behaviours": "kind, other"}, "other has no checkpoint"),
        ({"kind": "toml", "toml": None}, "did not arrive"),
        ({"kind": "toml", "toml": "[a"}, "no TOML"),
    ],
)
def test_a_form_that_cannot_be_read_is_one_sentence(other: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        tables_from(filled(**other))


def test_all_that_can_be_known_is_found_before_anything_is_loaded(lab: Lab, families_file: str) -> None:
    folder = Path(families_file).parent
    places = {
        "/small": f"{folder}/llama-small-base",
        "/large": "org/large",
        "kind/small": f"{folder}/llama-small-helpful",
    }
    found = list(findings(lab, tables_from(filled(places=places))))
    assert [(each.about, each.mark) for each in found] == [
        ("mine", "good"),
        ("base[small]", "good"),
        ("base[large]", "later"),
        ("tuned[kind][small]", "good"),
        ("Vocabulary", "good"),
        ("Memory", "later"),
    ]
    assert "org/large is not on this machine yet" in found[2].text
    assert "LlamaForCausalLM" in found[1].text
    assert lab.names() == Lab(lab.settings).names()


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ({"/small": "/nowhere"}, "no checkpoint in /nowhere"),
        ({"/small": "{0}/pickle"}, "pickles"),
        ({"/small": "{0}/cut"}, "damaged"),
        ({"/small": "{0}/llama-small-base", "kind/small": "{0}/other"}, "do not share a vocabulary"),
        ({"/small": "{0}/llama-small-base", "kind/small": "{0}/no-tokenizer"}, "no usable tokenizer"),
    ],
)
def test_what_is_wrong_is_found(
    lab: Lab, families_file: str, tmp_path: Path, places: dict[str, str], told: str
) -> None:
    good = Path(families_file).parent / "llama-small-base"
    for name in ("llama-small-base", "pickle", "cut", "other", "no-tokenizer"):
        folder = tmp_path / name
        folder.mkdir()
        for file in good.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    weights = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(weights[:-100])
    (tmp_path / "pickle" / "model.safetensors").rename(tmp_path / "pickle" / "pytorch_model.bin")
    for file in (tmp_path / "no-tokenizer").glob("*token*"):
        file.write_text("{}")
    _shuffled(tmp_path / "other" / "tokenizer.json")
    behaviours = "kind" if "kind/small" in places else ""
    wish = filled(sizes="small", behaviours=behaviours, places={k: v.format(tmp_path) for k, v in places.items()})
    found = list(findings(lab, tables_from(wish)))
    assert any(each.mark == "bad" and told in each.text for each in found)


def _shuffled(file: Path) -> None:
    """Other texts under the ids of a tokenizer."""
    table = json.loads(file.read_text(encoding="utf-8"))
    table["model"]["vocab"] = {
        (f"{text}x" if number > 280 else text): number for text, number in table["model"]["vocab"].items()
    }
    table["model"]["merges"] = []
    file.write_text(json.dumps(table), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "told"),
    [("<script>", "part of an address"), ("../../up", "part of an address"), ("llama", "choose another name")],
)
def test_a_name_that_cannot_be_is_found(lab: Lab, name: str, told: str) -> None:
    [found] = findings(lab, tables_from(filled(name=name)))
    assert found.mark == "bad"
    assert told in found.text


def test_a_size_that_no_member_can_have_is_found(lab: Lab) -> None:
    wish = filled(sizes="a]b", behaviours="", places={"/a]b": "org/x"})
    assert [each.mark for each in findings(lab, tables_from(wish))] == ["bad"]


def test_a_family_is_checked_added_and_removed(manager: Manager, families_file: str) -> None:
    folder = Path(families_file).parent
    places = {"/small": f"{folder}/llama-small-base", "kind/small": f"{folder}/llama-small-helpful"}
    wish = filled(places=places, sizes="small", title=HOSTILE)
    *_, [told, *_] = manager.adding(event(act="check", **wish), request())
    assert "This can be added" in told
    assert not manager.lab.added_file.exists()
    *_, [told, _, families] = manager.adding(event(act="add", **wish), request())
    assert "Added" in told
    assert "<script" not in told + families
    assert list(tomllib.loads(manager.lab.added_file.read_text(encoding="utf-8"))) == ["mine"]
    assert 'data-act="remove" data-family="mine"' in families
    *_, [told, *_] = manager.adding(event(act="add", **wish), request())
    assert "choose another name" in told
    assert "is forgotten" in acted(manager, act="remove", family="mine")[-1][0]
    assert "mine" not in manager.lab.names()


def test_of_several_families_all_are_added_or_none(manager: Manager, families_file: str) -> None:
    place = Path(families_file).parent / "llama-small-base"
    text = f'[one]\nsizes = ["s"]\nbase.s = "{place}"\n'
    with pytest.raises(ValueError, match="choose another name"):
        manager.lab.add_toml(text + text.replace("[one]", "[gpt2]"))
    assert not manager.lab.added_file.exists()
    assert "one" not in manager.lab.names()
    *_, [told, *_] = manager.adding(
        event(act="add", kind="toml", toml=text + '[two]\nsizes = ["s"]\nbase.s = "/no"\n'), request()
    )
    assert "Nothing was added" in told
    assert not manager.lab.added_file.exists()
    *_, [told, *_] = manager.adding(
        event(act="add", kind="toml", toml=text + text.replace("[one]", "[two]")), request()
    )
    assert "Added: one, two" in told
    assert {"one", "two"} <= set(Lab(manager.lab.settings).names())
