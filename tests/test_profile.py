"""The benchmarks of sizes that are not at hand: right shapes, forced acceptance, and a check that can fail."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from eft_core.benchmark import gpu, profile
from eft_core.benchmark.agreement import TOLERANCES, Agreement, agreement, agreements
from eft_core.benchmark.emulated import DRAFTER, POLICY, Amount, Pair, measured
from eft_core.benchmark.forced import forced
from eft_core.benchmark.own import Setup, Task
from eft_core.benchmark.shapes import SHAPES, random_network, shape_named
from eft_core.benchmark.timing import pooled
from eft_core.config import Limits, Request, Row, Rule, Sampling, Speculation
from eft_core.draft_length import Pace
from eft_core.model import Model
from eft_core.policy import Member, up_scale
from eft_core.session import Session
from eft_core.settings import Settings

CPU = torch.device("cpu")
RULES: tuple[Rule, ...] = get_args(Rule)
TINY = Pair("tiny-large", "tiny", torch.float32, CPU, CPU)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("smollm2-135m", 134_515_008),
        ("smollm2-360m", 361_821_120),
        ("smollm2-1.7b", 1_711_376_384),
        ("llama-2-7b", 6_738_415_616),
        ("llama-2-13b", 13_015_864_320),
    ],
)
def test_shapes_have_the_published_number_of_parameters(name: str, published: int) -> None:
    assert SHAPES[name].parameters == published


def test_a_random_network_has_its_shape_finite_logits_and_is_decided_by_its_seed() -> None:
    one, same, other = (random_network(SHAPES["tiny"], torch.float32, CPU, seed) for seed in (1, 1, 2))
    assert sum(parameter.numel() for parameter in one.parameters()) == SHAPES["tiny"].parameters
    ids = torch.arange(8)[None]
    logits = [network(input_ids=ids).logits for network in (one, same, other)]
    assert torch.isfinite(logits[0]).all()
    assert torch.equal(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2], atol=0.1)
    with pytest.raises(ValueError, match=r"no shape 'huge': use smollm2-135m, "):
        shape_named("huge")


@pytest.fixture(scope="module")
def tiny() -> dict[Member, Model]:
    return TINY.models()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("acceptance", [0.0, 0.6, 0.9, 1.0])
def test_drafts_are_accepted_as_often_as_is_asked(
    acceptance: float, temperature: float, tiny: dict[Member, Model]
) -> None:
    """0.12: in 200 places 3.5 standard deviations of independent ones, and these are more even; all is seeded."""
    certain = acceptance in (0, 1)
    setup = Setup((POLICY,), (DRAFTER,), forced(tiny, POLICY, acceptance, 300), time.perf_counter)
    task = Task(tuple(range(3, 20)), 60 if certain else 200, Sampling(temperature, seed=1))
    expected = setup.plain(task).ids
    for rule in RULES:
        found = setup.speculative(task, Speculation(4, rule), Pace())
        share = pooled(found.drafting).acceptance
        assert share == pytest.approx(acceptance, abs=0.001 if certain else 0.12), rule
        assert found.ids == expected, f"{rule}: one token has nearly all probability at every place"


def test_a_chance_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"acceptance 1\.5 must be between 0 and 1"):
        forced(TINY.models(), POLICY, 1.5, 10)


def test_a_pairs_document_is_marked_random_and_holds_what_was_asked() -> None:
    found = measured(TINY, [0.9, 0.0], Amount(20, 2, (2, 4)), time.perf_counter)
    assert json.loads(json.dumps(found))["weights"] == "random"
    assert found["weights_mb"] == pytest.approx(TINY.bytes / 1e6, rel=0.1)
    assert found["forward"] == "lean"
    good, bad = found["runs"]
    assert set(good["tokens_per_second"]) == {"large base alone", "plain", "k = 2", "k = 4", "adaptive"}
    assert all(rate > 0 for rate in good["tokens_per_second"].values())
    assert good["acceptance"] > 0.7
    assert bad["acceptance"] == 0


def test_the_profile_tells_its_machine_and_where_its_acceptance_is_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "real_model", lambda *_: None)  # tested in test_smollm2, for it takes half a minute
    file = tmp_path / "profile.json"
    arguments = ["--quick", "--large", "tiny-large", "--small", "tiny", "--json", str(file)]
    assert profile.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert found == json.loads(file.read_text())
    assert [pair["quantise"] for pair in found["pairs"]] == ["none", "int8"]
    assert found["machine"]["threads"] == 1
    assert found["acceptance_source"].startswith("measured on Atlas, 20")
    assert found["pairs"][0]["runs"][0]["acceptance_asked"] == json.loads(profile.ATLAS.read_text())["acceptance"]
    assert "tiny-large <- tiny, random weights, float32" in "\n".join(lines)


def test_without_the_real_weights_the_profile_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "find_spec", lambda name: None)
    assert profile.real_model(Settings(), ("Hi",), 4) is None


def test_bfloat16_agrees_with_float32_within_the_stated_tolerance_and_other_text_does_not() -> None:
    """The check of the GPU, in the format of the GPU, on the CPU; and it finds an answer that is not greedy."""
    exact, fast = (
        Session(Settings(device="cpu", dtype=dtype, threads=1), "atlas") for dtype in ("float32", "bfloat16")
    )
    prompts = ("What is the capital of Kenya?", "Which is the currency of Peru?")
    found = agreements(fast, exact, prompts, 16)
    assert [each.way for each in found] == ["plain", "block, k = 4", "token, k = 4", "noise, k = 4", "adaptive"]
    assert all(each.within(TOLERANCES["bfloat16"]) for each in found)
    assert not any(each.within(TOLERANCES["float32"]) for each in found), "rounding is seen at all"
    rows = tuple(Row(prompt, up_scale("large", "small"), Sampling(1.5, seed=5)) for prompt in prompts)
    wild = agreement("wild", exact, rows, exact.ask(Request(rows, Limits(16))))
    assert wild.mean < TOLERANCES["float32"].mean
    assert wild.same < wild.tokens
    assert not wild.within(TOLERANCES["bfloat16"])


def test_the_gpu_command_refuses_in_one_sentence_without_a_gpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: this needs a CUDA GPU, and torch finds none: run it where there is one")
    assert told.err.count("\n") == 1


def test_the_gpu_command_runs_through_on_the_cpu(
    families_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EFT_FAMILIES", families_file)
    monkeypatch.setenv("EFT_THREADS", "1")
    file = tmp_path / "gpu.json"
    tried = [
        "--device",
        "cpu",
        "--large",
        "tiny-large",
        "--small",
        "tiny",
        "--quick",
        "--dtype",
        "float32",
        "--cost-ratio",
        "3",
    ]
    assert gpu.main([*tried, "--family", "llama", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["agrees"]
    assert [each["small_on"] for each in found["agreement"]] == ["cpu"] * 5
    assert found["at_cost_ratio"]["layers_added"] > 0
    assert "own block, adaptive" in found["at_cost_ratio"]["over_plain"]
    assert [run["acceptance_asked"] for run in found["pairs"][0]["runs"]][1] == 0.9


def test_a_device_that_is_wrong_gets_no_speed(
    sessions: Callable[[str], Any], families_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: Any) -> list[Agreement]:
        return [Agreement("plain", 10, mean=0.5, largest=2.0, gap=3.0, same=4)]

    monkeypatch.setattr(gpu, "agreements", wrong)
    monkeypatch.setenv("EFT_FAMILIES", families_file)
    file = tmp_path / "gpu.json"
    arguments = ["--device", "cpu", "--large", "tiny-large", "--small", "tiny", "--family", "llama", "--quick"]
    assert gpu.main([*arguments, "--json", str(file)]) == 1
    assert not {"pairs", "at_cost_ratio"} & set(json.loads(file.read_text()))
