"""The command line answers, streams, lists and compares; a user's mistake is one line and status 2."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eft_core.__main__ import _parser, main
from eft_core.config import Limits, Request, Speculation
from eft_core.events import Drafting, Gain
from eft_core.families import family_named
from eft_core.policy import Member, Policy
from eft_core.speculation_options import said_of, speculation


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch, families_file: str) -> None:
    monkeypatch.setenv("EFT_FAMILIES", families_file)
    monkeypatch.setenv("EFT_DEVICE", "cpu")


def ask(*options: str) -> list[str]:
    return ["ask", "What is the capital of Kenya?", "--family", "llama", "--max-new-tokens", "12", *options]


def test_json_prints_one_object_with_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ask("--pretrain", "large", "--finetune", "small", "--json")) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {"text", "token_ids", "policy", "seconds", "tokens_per_second", "reason", "logprobs"} <= set(answer)
    assert Policy.from_dict(answer["policy"]) == Policy("large", "small", {"helpful": 1.0})
    assert len(answer["token_ids"]) == len(answer["logprobs"]) <= 12
    assert answer["prompt_tokens"] > 5


def test_without_json_the_same_text_streams(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--pretrain", "large", "--finetune", "small", "--temperature", "1", "--seed", "3"]
    main(ask(*options, "--json"))
    text = json.loads(capsys.readouterr().out)["text"]
    assert main(ask(*options)) == 0
    captured = capsys.readouterr()
    assert captured.out == text + "\n"
    assert "base(large) + [helpful − base](small)" in captured.err
    assert captured.err.index("of weights") < captured.err.index("loading ")  # the plan comes first


def test_every_option_reaches_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--pretrain large --finetune small --behaviour helpful=0.4 --behaviour harmless=0.6 --beta 1.5"
    assert main(ask(*options.split(), "--nucleus", "0.9", "--top-k", "5", "--top-p", "0.9", "--json")) == 0
    policy = json.loads(capsys.readouterr().out)["policy"]
    assert policy == {
        "pretrain": "large",
        "finetune": "small",
        "behaviours": {"helpful": 0.4, "harmless": 0.6},
        "amplification": 1.5,
        "nucleus": 0.9,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pretrain", "huge"], "no size 'huge'"),
        (["--finetune", "large", "--behaviour", "harmless=1"], "no 'harmless' of size 'large'"),
        (["--behaviour", "helpful=1"], "need finetune"),
        (["--finetune", "small", "--behaviour", "helpful=-1"], "reverses a fine-tuning"),
        (["--finetune", "small", "--behaviour", "helpful=much"], "NAME=WEIGHT"),
        (["--finetune", "small", "--behaviour", "helpful=1", "--behaviour", "helpful=1"], "named once"),
        (["--nucleus", "2"], "nucleus"),
        (["--temperature", "-1"], "temperature"),
        (["--max-new-tokens", "0"], "max_new_tokens"),
        (["--family", "pear"], "no family 'pear'"),
        (["--turn", "user:Hi"], "add what the assistant answered"),
        (["--rule", "block"], "set speculate to adaptive or a number"),
        (["--timed"], "set speculate to adaptive or a number"),
        (["--drafter", "base[small]", "--speculate", "off"], "set speculate to adaptive or a number"),
        (["--speculate", "--drafter", "small"], "write base[small] or tuned[helpful][small]"),
        (["--speculate", "4", "--drafter", "tuned[harmless][large]"], "no 'harmless' of size 'large'"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(ask(*options)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


UP = ("--pretrain", "large", "--finetune", "small")


def answered(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert main(ask(*UP, *options, "--json")) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("way", [["adaptive"], ["4"], []], ids=["adaptive", "fixed", "bare"])
def test_speculation_gives_the_same_greedy_text_and_says_what_it_did(
    capsys: pytest.CaptureFixture[str], way: list[str]
) -> None:
    plainly, answer = answered(capsys), answered(capsys, "--timed", "--speculate", *way)
    assert (answer["text"], answer["token_ids"]) == (plainly["text"], plainly["token_ids"])
    assert plainly["fates"] == ["plain"] * len(plainly["token_ids"])
    assert "speculation" not in plainly
    assert len(answer["fates"]) == len(answer["token_ids"])
    assert set(answer["fates"]) <= {"plain", "accepted", "recovered", "bonus"}
    keys = {"drafter", "acceptance", "acceptance_by_position", "tokens_a_cycle", "drafted", "gain"}
    assert set(answer["speculation"]) == keys
    gain = answer["speculation"]["gain"]
    assert gain["measured"] == pytest.approx(gain["tokens_per_second"] / gain["plain_tokens_per_second"])


def test_a_fixed_length_drafts_and_its_record_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    answer = answered(capsys, "--speculate", "3", "--drafter", "tuned[helpful][small]")
    did = answer["speculation"]
    assert did["drafter"] == "helpful(small)"
    assert did["drafted"] >= len(did["acceptance_by_position"]) > 0
    assert 0 <= did["acceptance"] <= 1 <= did["tokens_a_cycle"] <= 4
    assert did["gain"]["plain_tokens_per_second"] is None
    assert "plain" not in answer["fates"][:-1]


def test_shared_noise_keeps_the_text_of_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    hot = ("--temperature", "1", "--seed", "5")
    plainly = answered(capsys, *hot)
    assert answered(capsys, *hot, "--speculate", "4", "--rule", "noise")["text"] == plainly["text"]


def test_ask_says_after_the_answer_what_speculation_brought(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ask(*UP, "--speculate", "4", "--timed")) == 0
    said = capsys.readouterr().err
    assert said.index("timing plain decoding first") < said.index(" tokens/s · ")
    last = said.splitlines()[-1]
    assert re.search(r" · \d+% accepted · \d\.\d tokens a cycle · gain \d+\.\d\dx( \(predicted \d+\.\d\dx\))?$", last)


@pytest.mark.parametrize(
    ("drafting", "gain", "words"),
    [
        (None, None, []),
        (Drafting(""), Gain(100.0), []),
        (Drafting("base(small)", 2, 7, 8, (2, 2), (2, 1)), None, ["75% accepted", "3.5 tokens a cycle"]),
        (None, Gain(150.0, 100.0, 1.567), ["gain 1.50x (predicted 1.57x)"]),
        (None, Gain(150.0, 100.0), ["gain 1.50x"]),
        (None, Gain(150.0, predicted=1.567), ["predicted gain 1.57x"]),
    ],
)
def test_only_what_is_known_is_said(drafting: Drafting | None, gain: Gain | None, words: list[str]) -> None:
    assert said_of(drafting, gain) == words


def test_speculation_is_read_as_people_write_it(families_file: str) -> None:
    family = family_named("llama", families_file)
    for off in (None, "off"):
        assert speculation(off, None, None, False, family) is None
    assert speculation("adaptive", None, None, False, family) == Speculation()
    for four in ("4", 4, 4.0):
        assert speculation(four, "noise", None, True, family) == Speculation(4, "noise", None, True)  # type: ignore[arg-type]
    drafter = speculation(1, "token", "base[small]", False, family)
    assert drafter == Speculation(1, "token", Member("small"))


@pytest.mark.parametrize("given", ["often", "-1", "0", 0, 33, "33", 1.5, True, [4], "9" * 400, "٤"])
def test_what_is_no_way_to_speculate_is_refused_with_the_ways(families_file: str, given: Any) -> None:
    with pytest.raises(ValueError, match="off, adaptive, or the tokens drafted a cycle, 1 to 32"):
        speculation(given, None, None, False, family_named("llama", families_file))


def test_a_prompt_taken_for_the_value_of_speculate_is_told_where_it_belongs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        _parser().parse_args(["ask", "--speculate", "What is the capital of Kenya?"])
    assert ended.value.code == 2
    assert "The prompt comes before --speculate." in capsys.readouterr().err


def test_compare_speculates_in_all_columns(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["compare", "Hi", "--family", "llama", "--max-new-tokens", "8"]
    assert main(options) == 0
    plainly = json.loads(capsys.readouterr().out)
    assert main([*options, "--speculate", "2", "--rule", "token", "--timed"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [column["text"] for column in document["columns"]] == [column["text"] for column in plainly["columns"]]
    asked = document["speculation"]
    assert (asked["length"], asked["rule"], asked["drafter"], asked["timed"]) == (2, "token", None, True)
    assert asked["gain"]["measured"] > 0
    assert "speculation" not in plainly
    assert all("acceptance" in column["speculation"] for column in document["columns"])


def test_too_long_a_prompt_and_an_empty_one_are_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    for prompt, message in (("x " * 50_000, "shorten it"), (" ", "prompt is empty")):
        assert main(["ask", prompt, "--family", "llama"]) == 2
        assert message in capsys.readouterr().err


def test_families_lists_sizes_behaviours_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["families", "--json"]) == 0
    listed = {family["name"]: family for family in json.loads(capsys.readouterr().out)}
    assert {"atlas", "llama", "gpt2"} <= set(listed)
    assert listed["llama"]["behaviours"] == {"small": ["helpful", "harmless"], "large": ["helpful"]}
    assert all(member["bytes"] > 10_000 and not member["problem"] for member in listed["llama"]["members"])
    assert main(["families"]) == 0
    assert "base[small]" in capsys.readouterr().out


def test_families_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text('[gone]\nsizes = ["s"]\n[gone.base]\ns = "nowhere/at/all"\n')
    monkeypatch.setenv("EFT_FAMILIES", str(tmp_path / "mine.toml"))
    assert main(["families"]) == 0
    assert "config.json is missing" in capsys.readouterr().out


def test_compare_writes_the_default_columns(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "example.json"
    assert main(["compare", "Hi", "--family", "llama", "--max-new-tokens", "5", "--json", str(file)]) == 0
    document = json.loads(file.read_text())
    assert (document["prompt"], document["family"]) == ("Hi", "llama")
    assert document["limits"]["max_new_tokens"] == 5
    assert [column["label"] for column in document["columns"]] == [
        "Large base",
        "Small tuned",
        "Up-scaled",
        "Large tuned",
    ]
    for column in document["columns"]:
        assert Policy.from_dict(column["policy"]).formula() == column["formula"]
        assert {"text", "token_ids", "seconds", "tokens_per_second", "reason"} <= set(column)
    assert capsys.readouterr().out == ""
    assert (
        main(["compare", "Hi", "--family", "llama", "--max-new-tokens", "2", "--json", str(tmp_path / "no" / "x")]) == 2
    )


def test_compare_asks_after_a_conversation_and_says_so(sessions: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = ["--system", "Be brief.", "--turn", "user:Kenya?", "--turn", "assistant:Nairobi."]
    assert main(["compare", "And Peru?", *before, "--family", "llama", "--max-new-tokens", "5"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["system"], document["turns"]) == ("Be brief.", [["Kenya?", "Nairobi."]])
    asked = [Policy.from_dict(column["policy"]) for column in document["columns"]]
    turns = (("Kenya?", "Nairobi."),)
    request = Request.compare("And Peru?", asked, limits=Limits(5), system="Be brief.", turns=turns)
    assert [column["text"] for column in document["columns"]] == [each.text for each in sessions("llama").ask(request)]


def test_a_reader_that_goes_away_is_no_error_to_tell() -> None:
    """As in `python -m eft_core families | head -1`."""
    command = [sys.executable, "-m", "eft_core", "families", "--json"]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(120) == 1
