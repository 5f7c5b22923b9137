"""The command line answers, streams, lists and compares; a user's mistake is one line and status 2."""

import json
from pathlib import Path

import pytest

from eft_core.__main__ import main
from eft_core.policy import Policy


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
