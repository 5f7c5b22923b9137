"""The command line's sweep: answers and means, going on, mistakes."""

import json
from pathlib import Path

import pytest

from eft_core.__main__ import main
from eft_core.saved_runs import read_run


@pytest.fixture(autouse=True)
def _data_of_the_test(tmp_path: Path, families_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("EFT_FAMILIES", families_file)


TINY = ["--family", "llama", "--max-new-tokens", "6", "--finetune", "small"]


def test_one_prompt_prints_an_answer_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "What is it?", *TINY, "--axis", "beta=0,1", "--axis", "seed=0:1", "--temperature", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    starts = [f"beta={beta} seed={seed}  " for beta in (0, 1) for seed in (0, 1)]
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=False)].count(True) >= 1
    assert [line for line in lines if line.startswith("beta=1 seed=1  ")]


def test_a_sweep_is_kept_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["sweep", "What is it?", *TINY, "--axis", "beta=0:1:0.25", "--json", str(tmp_path / "run.jsonl")]
    assert main(given) == 0
    first = capsys.readouterr()
    trials, replies = read_run((tmp_path / "run.jsonl").read_text(), "run.jsonl")
    assert len(replies) == len(trials) == 5
    [kept] = (tmp_path / "data" / "runs").glob("*.jsonl")
    whole = kept.read_text()
    kept.write_text("\n".join(whole.splitlines()[:4]) + "\n{torn")
    assert main(given) == 0
    assert capsys.readouterr().out == first.out
    assert sorted(json.loads(line).get("text", "") for line in kept.read_text().splitlines()) == sorted(
        json.loads(line).get("text", "") for line in whole.splitlines()
    )


def test_prompts_with_answers_are_graded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "One?", "answer": "two"}\n{"prompt": "Two?", "answer": "three"}\n')
    assert main(["sweep", "--prompts", str(file), *TINY, "--axis", "beta=0,1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["beta=0", "beta=1"]
    assert all("exact 0.00 [0.00, " in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep", *TINY, "--axis", "beta=0"], "needs a prompt"),
        (["sweep", "x", "--prompts", "atlas", *TINY, "--axis", "beta=0"], "not both"),
        (["sweep", "x", "--items", "3", *TINY, "--axis", "beta=0"], "--items belongs"),
        (["sweep", "x", *TINY, "--axis", "beta=x"], "no number"),
        (["sweep", "x", *TINY, "--axis", "pretrain=huge"], "no size 'huge'"),
        (["sweep", "x", *TINY, "--axis", "weight[kind]=1"], "no behaviour 'kind'"),
        (["sweep", "x", "--family", "llama", "--axis", "beta=1"], "needs a fine-tuned policy"),
        (["sweep", "--prompts", "nowhere", *TINY, "--axis", "beta=1"], "no prompt set"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert said in line
