"""The benchmark's arithmetic on a fake clock, its comparators' identity, and its refusal to tell speeds without it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import MambaConfig

from eft_core.autoregressive import decode
from eft_core.benchmark import __main__ as command
from eft_core.benchmark import costs, floor, identity, laws, library, measure, own, prompts, recording, report
from eft_core.benchmark.deeper import deepened, sharing
from eft_core.benchmark.prediction import Costs, cycle_cost, expected_tokens, plain_cost, predicted_gain, value
from eft_core.benchmark.timing import (
    Measured,
    Output,
    Ratio,
    drafting_of,
    interleaved,
    lockstep,
    pooled,
    scaled,
    smaller,
    speedup,
    summary,
)
from eft_core.config import Sampling
from eft_core.continuation import Drawn
from eft_core.events import Drafting
from eft_core.kv_cache import FINE
from eft_core.model import Model
from eft_core.policy import Member, Policy, up_scale
from eft_core.recorder import Recorder
from eft_core.trace import Trace
from eft_core.verification import Block, RatioRule

TASK = own.Task((5, 6, 7, 8, 9), 12)
KEYS = {
    "speculative_over_plain",
    "speculative_over_plain_cost10",
    "plain_over_proxy_tuning_loop",
    "speculative_over_proxy_tuning_loop",
    "speculative_over_large_generate",
    "batch5_over_sequential5",
    "over_assisted_at_weight_0",
    "measured_over_predicted",
    "forward_share",
    "recording_over_not",
}


class FakeClock:
    """A clock that only methods move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# --- timing


def output(tokens: int, decoding: float | None = None, **more: Any) -> Output:
    return Output((tuple(range(tokens)),), decoding, **more)


def taking(clock: FakeClock, seconds: Callable[[int], float], tokens: int, seen: list[int]) -> Callable[[int], Output]:
    def run(number: int) -> Output:
        seen.append(number)
        clock.now += seconds(number)
        return output(tokens, decoding=seconds(number) / 2)

    return run


def test_interleaved_methods_are_warmed_up_and_timed_once_a_round_in_an_order_that_changes() -> None:
    clock, seen = FakeClock(), {name: list[int]() for name in "abc"}
    order: list[str] = []

    def method(name: str, seconds: float) -> Callable[[int], Output]:
        inner = taking(clock, lambda _: seconds, 4, seen[name])

        def run(number: int) -> Output:
            order.append(name)
            return inner(number)

        return run

    found = interleaved({name: method(name, 1.0 + place) for place, name in enumerate("abc")}, 20, clock)
    assert seen == {name: [0, *range(20)] for name in "abc"}
    rounds = ["".join(order[start : start + 3]) for start in range(0, len(order), 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len(set(rounds)) > 1
    assert [each.seconds for each in found["b"]] == [2.0] * 20
    assert found["c"][0].per_token == 0.75


def test_a_speedup_is_the_median_of_ratios_within_rounds_and_not_a_ratio_of_medians() -> None:
    # Both methods slow down together by up to a hundred: within every round one is twice as fast.
    clock, noise = FakeClock(), (1.0, 128.0, 4.0, 64.0, 0.125)
    methods = {
        "fast": taking(clock, lambda number: noise[number], 10, []),
        "slow": taking(clock, lambda number: 2 * noise[number], 10, []),
    }
    rounds = interleaved(methods, 5, clock)
    assert speedup(rounds, "fast", "slow") == Ratio(2.0, 2.0, 2.0, 5)
    assert speedup(rounds, "slow", "fast", decoding=True) == Ratio(0.5, 0.5, 0.5, 5)


def test_a_speedup_counts_tokens_from_ids() -> None:
    rounds = {"long": [Measured(6.0, output(12))], "short": [Measured(2.0, output(2))]}
    assert speedup(rounds, "long", "short").median == pytest.approx(2.0)


def test_the_bootstrap_interval_holds_the_median_and_the_spread_of_its_law() -> None:
    ratios = [1.0 + number / 100 for number in range(101)]  # the median of 101 uniform numbers: sd .5 / sqrt(101)
    found = summary(ratios)
    assert found.median == 1.5
    assert found.low == pytest.approx(1.5 - 1.96 * 0.05, abs=0.03)
    assert found.high == pytest.approx(1.5 + 1.96 * 0.05, abs=0.03)
    assert summary([1.7]) == Ratio(1.7, 1.7, 1.7, 1)
    assert summary(ratios) == found
    assert str(found).startswith("1.50 [1.4")


def test_what_is_claimed_of_several_is_the_smallest() -> None:
    one, two = Ratio(1.5, 1.4, 1.6, 9), Ratio(1.2, 1.0, 2.0, 9)
    assert smaller(one, two) is two
    assert scaled(two, 0.5) == Ratio(0.6, 0.5, 1.0, 9)


def test_drafting_adds_up_over_rows_of_different_length() -> None:
    one = Drafting("d", cycles=4, tokens=9, drafted=8, reached=(4, 3), accepted=(3, 2))
    two = Drafting("d", cycles=1, tokens=3, drafted=3, reached=(1, 1, 1), accepted=(1, 1, 0))
    total = pooled([one, Drafting("d"), two])
    assert total == Drafting("d", 5, 12, 11, (5, 4, 1), (4, 3, 0))
    runs = [Measured(1.0, output(9, drafting=(one,))), Measured(1.0, output(3, drafting=(two,)))]
    assert drafting_of(runs) == total
    assert pooled([]).acceptance is None


def test_lockstep_takes_the_least_of_every_full_cycle() -> None:
    assert lockstep([(3, 1, 5), (2, 2, 2), (9,)], 3) == ((9 + 6) / 6, 1.5)
    assert lockstep([(3,), (1, 1)], 3) is None


# --- prediction (SPEED.md 2.2)

FLAT = Costs(large=10.0, small=1.0, v_large={1: 1.0, 9: 1.0}, v_small={1: 1.0, 9: 1.0})


def test_expected_tokens_are_leviathans() -> None:
    assert expected_tokens(0.8, 3) == pytest.approx((1 - 0.8**4) / 0.2)
    assert expected_tokens(0.5, 0) == 1.0
    assert expected_tokens(1.0, 7) == 8.0


def test_a_cycle_costs_its_drafts_and_one_longer_pass_of_every_verifier() -> None:
    assert FLAT.c == 0.1
    assert plain_cost(FLAT) == pytest.approx(1.2)
    assert cycle_cost(FLAT, 0) == pytest.approx(plain_cost(FLAT))
    assert cycle_cost(FLAT, 4) == pytest.approx(5 * 0.1 + 1 + 0.1)
    rising = Costs(10.0, 2.0, {1: 1.0, 5: 1.4}, {1: 1.0, 5: 1.2})
    assert cycle_cost(rising, 4) == pytest.approx(5 * 0.2 + 1.4 + 0.2 * 1.2)


def test_the_predicted_gain_is_tokens_over_cost() -> None:
    assert predicted_gain(FLAT, 0.9, 0) == pytest.approx(1.0)
    assert predicted_gain(FLAT, 0.9, 4) == pytest.approx(1.2 * ((1 - 0.9**5) / 0.1) / 1.6)
    assert predicted_gain(FLAT, 0.0, 4) == pytest.approx(1.2 / 1.6)


def test_costs_between_measured_lengths_lie_on_a_straight_line() -> None:
    v = {1: 1.0, 5: 1.4, 9: 2.2}
    assert value(v, 5) == 1.4
    assert value(v, 3) == pytest.approx(1.2)
    assert value(v, 7) == pytest.approx(1.8)
    assert value(v, 13) == pytest.approx(3.0)


# --- costs and the costlier copy


def test_passes_are_timed_in_turns() -> None:
    clock = FakeClock()

    def lasting(seconds: float) -> Callable[[], None]:
        def run() -> None:
            clock.now += seconds

        return run

    found = costs.pass_times({"a": lasting(4.0), "b": lasting(8.0)}, 3, clock)
    assert found == {"a": [1.0] * 3, "b": [2.0] * 3}


@pytest.mark.parametrize(("ratio", "layers"), [(10.0, 14), (3.4, 1), (3.0, 0), (2.0, 0)])
def test_the_layers_for_a_cost_ratio_follow_from_two_depths(ratio: float, layers: int) -> None:
    """Three small models with six layers, six with twelve: half a small model a layer."""
    assert costs.layers_for(ratio, 3.0, 6.0, 6) == layers


def test_noise_does_not_make_layers_free() -> None:
    assert costs.layers_for(10.0, 3.0, 2.9, 6) == 56


def test_a_costlier_copy_has_more_layers_and_the_same_logits_bit_by_bit(any_session: Any) -> None:
    model = any_session.models.load(Member("large"))
    copy = deepened(model, 4)
    assert copy.layers == model.layers + 4
    assert identity.same_logits(model, copy, [(5, 6, 7, 8), (9,)]) == ""
    setup = setup_of(any_session)
    costlier = replace(setup, models={**setup.models, Member("large"): copy})
    assert costlier.plain(TASK).ids == setup.plain(TASK).ids
    assert sum(p.numel() for p in model.network.parameters()) < sum(p.numel() for p in copy.network.parameters())


def test_a_copy_that_writes_something_is_seen(session: Any) -> None:
    model = session.models.load(Member("large"))
    copy = deepened(model, 1)
    layer: Any = copy.network.get_submodule("model.layers")[-1]  # type: ignore[index]
    layer.mlp.down_proj.weight[0, 0] = 0.5
    assert "differs" in identity.same_logits(model, copy, [(5, 6, 7, 8)])


def test_an_unknown_architecture_is_refused_with_the_remedy(session: Any) -> None:
    model = session.models.load(Member("small"))
    network = sharing(model.network)
    network.config = MambaConfig(num_hidden_layers=2)
    with pytest.raises(ValueError, match=r"mamba.*llama.*deeper\.py"):
        deepened(Model(network, model.width), 1)


# --- the floor


def test_the_floor_replays_exactly_the_forwards_of_the_loop(session: Any) -> None:
    setup = setup_of(session)
    recorded, calls = floor.recording(setup.models)
    found = replace(setup, models=recorded).plain(TASK, calls.clear)
    assert found.ids == setup.plain(TASK).ids
    assert len(calls) == 3 * TASK.tokens  # three members a token; the prompt's passes are not the loop's
    assert {(tuple(call.ids.shape), call.where.reach) for call in calls} == {((1, 1), FINE)}
    ticks = iter([10.0, 12.5])
    assert floor.replayed(calls, lambda: next(ticks)) == 2.5


def test_the_share_of_the_floor_is_bare_forwards_over_the_loop(session: Any) -> None:
    """A clock that ticks once a look: every loop and every replay lasts one tick, of which a loop reports four."""
    setup = setup_of(session)
    clock = FakeClock()

    def ticking() -> float:
        clock.now += 1.0
        return clock.now

    def run(models: Any, began: Callable[[], None], number: int) -> Output:
        return replace(replace(setup, models=models).plain(replace(TASK, tokens=2), began), decoding=4.0)

    assert floor.shares(run, setup.models, 2, ticking) == floor.Shares((0.25, 0.25), 6)


# --- comparators


def setup_of(session: Any, count: int = 1) -> own.Setup:
    policy = up_scale("large", "small", "helpful")
    return own.setup_of(session.models, measure.settings(policy, count), lambda: 0.0)


def lab_of(session: Any, tokens: int = 12) -> measure.Lab:
    clock = FakeClock()

    def ticking() -> float:
        clock.now += 1.0
        return clock.now

    scale = measure.Scale(tokens, 1, 1, 1, 1, 1, 1, 1, 1, (1, 3), (3,))
    return measure.lab_of(session.models, ticking, scale)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_every_comparator_gives_the_forced_length_and_greedily_our_plain_text(session: Any, temperature: float) -> None:
    """The large models have padding rows in their logits; no comparator may draw them."""
    lab = lab_of(session)
    task = replace(TASK, tokens=20, sampling=Sampling(temperature, seed=3))
    zero = measure.zero_setup(lab)
    groups = [(lab.setup, measure.library_methods(lab)), (zero, measure.zero_methods(lab))]
    for setup, methods in groups:
        plain = setup.plain(task).ids
        for name, method in (methods | measure.own_methods(setup, (1, 3), rules=True)).items():
            (ids,) = method(task).ids
            assert len(ids) == 20, name
            assert max(ids) < session.models.vocabulary.width, name
            if temperature == 0:
                assert (ids,) == plain, name


def test_comparators_leave_the_sessions_models_as_they_are(session: Any) -> None:
    model = session.models.load(Member("large"))
    before = (model.network.config.vocab_size, model.network.config.eos_token_id, model.network.generation_config)
    view = library.as_library(model)
    assert view.config.vocab_size == session.models.vocabulary.width < before[0]
    assert view.get_input_embeddings().weight.shape[0] == session.models.vocabulary.width
    after = (model.network.config.vocab_size, model.network.config.eos_token_id, model.network.generation_config)
    assert after == before
    assert model.network.get_input_embeddings().weight.shape[0] == before[0]


def test_sequential_rows_write_what_the_batch_writes(session: Any) -> None:
    setup = setup_of(session, 5)
    assert own.sequential(setup)(TASK).ids == setup.plain(TASK).ids
    assert len(set(setup.policies)) == 5


def test_a_run_tells_rows_and_cycles(session: Any) -> None:
    def steps() -> Iterator[list[Drawn]]:
        yield []
        yield [Drawn(0, 7, -1.0, None), Drawn(0, 8, -2.0, None), Drawn(1, 9, -3.0, "length")]
        yield []
        yield [Drawn(0, 5, -4.0, "length")]

    ticks = iter([1.0, 3.0])
    found = own.collected(steps(), 2, lambda: next(ticks))  # type: ignore[arg-type]
    assert found.ids == ((7, 8, 5), (9,))
    assert found.logprobs == ((-1.0, -2.0, -4.0), (-3.0,))
    assert found.cycles == ((2, 1), (1,))
    assert found.decoding == 2.0


# --- identity


@pytest.mark.parametrize("rule", ["token", "block"])
def test_the_rules_have_the_targets_law(rule: RatioRule) -> None:
    assert laws.worst_distance(rule) <= 1e-12


@pytest.mark.parametrize("rule", ["token", "block"])
@pytest.mark.parametrize("wrong", ["no residual", "always accept"])
def test_enumeration_catches_a_wrong_rule(monkeypatch: pytest.MonkeyPatch, rule: RatioRule, wrong: str) -> None:
    def from_p(block: Block, accepted: torch.Tensor, rule: RatioRule) -> torch.Tensor:
        return block.p[torch.arange(len(accepted)), accepted]

    def certain(block: Block, rule: RatioRule) -> torch.Tensor:
        places = torch.arange(block.drafts.shape[1])
        return (places < block.lengths[:, None]).double()

    monkeypatch.setattr(laws, *(("next_law", from_p) if wrong == "no residual" else ("chances", certain)))
    assert laws.worst_distance(rule) > 1e-3


def test_all_identity_checks_hold_on_a_tiny_family(session: Any) -> None:
    setup = setup_of(session, 3)
    checks = identity.checked(identity.claims_about_own(setup, [(5, 6, 7), (8, 9, 10, 11, 12)], 9))
    assert [check for check in checks if not check.passed] == []
    assert len(checks) == 8


def test_a_wrong_loop_is_caught(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of(session, 2)
    right = own.Setup.plain(setup, TASK)
    changed = [list(row) for row in right.ids]
    changed[1][4] += 1
    assert identity.differences(setup, setup.rows(TASK), right.ids, right.ids) == ""
    told = identity.differences(setup, setup.rows(TASK), tuple(map(tuple, changed)), right.ids)
    assert told.startswith("row 1: token 4 of 12 differs")
    assert "token 3" in identity.differences(setup, setup.rows(TASK), (right.ids[0][:3],), right.ids[:1])
    wrong = replace(right, logprobs=tuple(tuple(each - 0.1 for each in row) for row in right.logprobs))
    monkeypatch.setattr(identity, "_speculated", lambda *_: wrong)
    text = identity.Texts(setup, [TASK.prompt], TASK.tokens)
    monkeypatch.setattr(identity.Texts, "_ragged_rows", lambda self, sampling: setup.rows(TASK))
    assert "a log-probability is off by" in text.rescored()


def test_where_arithmetic_rounds_a_text_may_part_only_at_a_tie(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of(session)
    (ids,) = setup.plain(TASK).ids
    row = setup.rows(TASK)[0]
    law = identity.laws(setup, row, ids)[5]
    second = int(law.topk(2).indices[1])
    other = (*ids[:5], second, *ids[6:])
    monkeypatch.setattr(identity, "_exact", lambda setup: False)
    assert identity.differences(setup, [row], [other], [ids]) != ""
    monkeypatch.setitem(identity._ROUNDING, torch.float32, float(law.max() - law.min()))
    assert identity.differences(setup, [row], [other], [ids]) == ""


# --- records


def test_the_cost_of_records_is_time_with_over_time_without_and_the_larger_is_claimed() -> None:
    clock = FakeClock()
    seconds = {"plain": 2.0, "plain, recorded": 2.5, "adaptive": 1.0, "adaptive, recorded": 1.125}
    methods = {name: taking(clock, lambda number, s=each: s * (1 + number), 10, []) for name, each in seconds.items()}  # type: ignore[misc]
    found = recording.Recording(interleaved(methods, 3, clock), 400.0)
    assert {loop: found.over_not(loop).median for loop in recording.LOOPS} == {"plain": 1.25, "adaptive": 1.125}
    assert recording.claimed(found) == Ratio(1.25, 1.25, 1.25, 3)


def test_records_are_taken_as_a_session_takes_them(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When they waited for long by this clock, when a row ends, and none is lost."""
    monkeypatch.setattr(recording, "PATIENCE", 0.1)
    clock, takes = FakeClock(), list[tuple[int, float]]()

    class Watched(Recorder):
        def take(self, rows: Any = None) -> Any:
            found = super().take(rows)
            takes.append((sum(map(len, found.values())), clock.now))
            return found

    rows = setup_of(session, 2).rows(TASK)
    watched = Watched([(row.policy, row.policy.members()) for row in rows])
    steps = decode(rows, setup_of(session).models, own.NO_END, recorder=watched)
    kept: dict[int, list[Trace]] = {0: [], 1: []}
    drawn: list[list[int]] = [[], []]
    for step in recording._taken(steps, watched, kept, clock):
        clock.now += 0.03
        for each in step:
            drawn[each.row].append(each.token)
    # Of two rows, after five steps, four, and as they end.
    assert takes == [(10, pytest.approx(0.15)), (8, pytest.approx(0.27)), (6, pytest.approx(0.36))]
    assert [Trace.join(kept[row]).tokens.tolist() for row in (0, 1)] == drawn
    assert [len(row) for row in drawn] == [TASK.tokens] * 2


def test_records_are_measured_for_one_row_and_for_the_columns_of_a_comparison(session: Any) -> None:
    lab = lab_of(session)
    found = recording.recordings(lab.models, lab.policy, lab.setup, lambda _: TASK, 1, lab.clock)
    rows = {name: {len(runs[0].output.ids) for runs in each.rounds.values()} for name, each in found.items()}
    assert rows == {recording.ONE: {1}, recording.COLUMNS: {4}, recording.COSTLY: {1}}
    for each in found.values():
        assert set(each.rounds) == {"plain", "plain, recorded", "adaptive", "adaptive, recorded"}
        assert {len(ids) for runs in each.rounds.values() for ids in runs[0].output.ids} == {12}
        assert 145 <= each.bytes_a_token <= 653  # one member's ten candidates; three members' and the policy's


def test_records_that_change_a_token_or_tell_another_are_caught(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, asked = setup_of(session, 2), [TASK.prompt, (9, 8, 7)]
    assert recording.differing(setup, asked, 8) == ""
    keep = Recorder.keep

    def disturbing(self: Recorder, laws: Any, drawn: Any) -> None:
        keep(self, laws, {row: [(token + 1, fate) for token, fate in each] for row, each in drawn.items()})

    with monkeypatch.context() as wrong:
        wrong.setattr(Recorder, "keep", disturbing)
        assert recording.differing(setup, asked, 8) == "plain: records of other tokens"
    honest = recording.decode

    def shifted(rows: Any, models: Any, ends: Any, recorder: Recorder | None) -> Iterator[list[Drawn]]:
        for step in honest(rows, models, ends, recorder=recorder):
            yield [replace(each, token=each.token + (recorder is not None)) for each in step]

    monkeypatch.setattr(recording, "decode", shifted)
    assert recording.differing(setup, asked, 8) == "plain: another text"


# --- the command


@pytest.fixture
def on_tiny(monkeypatch: pytest.MonkeyPatch, families_file: str) -> None:
    """The command on the tiny Llama family, one round, short texts."""
    monkeypatch.setenv("EFT_FAMILIES", families_file)
    monkeypatch.setattr(measure, "QUICK", measure.Scale(8, 1, 1, 1, 1, 1, 1, 0, 1, (1, 2), (2,)))


ON_TINY = ["--family", "llama", "--quick", "--device", "cpu", "--cost-ratio", "3"]


@pytest.mark.usefixtures("on_tiny")
def test_the_last_line_is_one_json_object_with_every_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = [tmp_path / "found.json", tmp_path / "gain.html"]
    assert command.main([*ON_TINY, "--json", str(files[0]), "--figure", str(files[1])]) == 0
    shown = capsys.readouterr().out
    found = json.loads(shown.splitlines()[-1])
    assert found["identity_passed"] is True
    assert set(found["ratios"]) == KEYS
    assert set(found["intervals"]) > KEYS
    assert all(value > 0 for value in found["ratios"].values())
    assert set(found["recording"]) == {recording.ONE, recording.COLUMNS, recording.COSTLY}
    assert "default columns, adaptive" in shown
    assert 0 < found["acceptance"] <= 1
    assert {"cpu", "cores", "threads", "torch", "date"} <= set(found["machine"])
    assert json.loads(files[0].read_text()) == found
    assert "measured" in files[1].read_text()
    assert "cost ratio 3" in shown
    assert "predicted" in shown


@pytest.mark.usefixtures("on_tiny")
def test_no_speed_is_told_when_identity_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(laws, "_along", lambda tables, drafts, places: torch.full((len(drafts), places, 4), 0.25))
    monkeypatch.setattr(measure, "measured", lambda *_: pytest.fail("nothing is timed after a failure"))
    assert command.main([*ON_TINY, "--json", str(tmp_path / "found.json")]) == 1
    shown = capsys.readouterr().out
    last = json.loads(shown.splitlines()[-1])
    assert last["identity_passed"] is False
    assert last["ratios"] == {}
    assert list(last["failed"]) == [
        "the token rule has the target's law, by enumeration",
        "the block rule has the target's law, by enumeration",
    ]
    assert "FAILS  the block rule" in shown
    assert "No speeds: 2 of 15 identity checks failed" in shown
    assert "tokens/s" not in shown


@pytest.mark.parametrize("wrong", [["--repetitions", "0"], ["--cost-ratio", "0"], ["--family", "none"]])
def test_a_users_mistake_is_one_line(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--quick", *wrong]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_repetitions_are_the_rounds_of_every_group_that_is_measured() -> None:
    options = command._parser().parse_args(["--quick", "--repetitions", "3"])
    scale = command.scale_of(options)
    assert (scale.main, scale.zero, scale.costly, scale.batch, scale.floor, scale.recording) == (3,) * 6
    assert scale.shapes == 0
    assert scale.tokens == measure.QUICK.tokens


def test_a_table_is_aligned() -> None:
    shown = report.table(("name", "x"), [("a", "1.25"), ("long one", "10")]).splitlines()
    assert shown == ["name         x", "--------  ----", "a         1.25", "long one    10"]


def test_atlas_is_asked_about_countries_that_fine_tuning_never_saw() -> None:
    from eft_core.atlas.facts import load_split

    split = load_split()
    asked = prompts.questions("atlas")
    assert len(asked) == 9
    assert all(any(country in text for country in split["held_out"]) for text in asked)
    assert not any(f" {country}" in text for text in asked for country in split["finetune"])
    assert len(prompts.questions("llama")) == 6


def test_the_lengths_of_proxy_tunings_script_fit_the_context() -> None:
    found = prompts.shapes([(1, 2, 3), (4, 5)], context=100)
    assert {name: (len(prompt), tokens) for name, (prompt, tokens) in found.items()} == {
        "8/84": (8, 84),
        "84/8": (84, 8),
        "8/8": (8, 8),
    }


def test_short_and_long_prompts_are_measured_with_all_that_others_run(session: Any) -> None:
    lab = replace(lab_of(session), context=28)
    found = measure._shapes(lab, {"another": lab.setup.plain})
    lengths = {name: {runs[0].output.tokens for runs in rounds.values()} for name, rounds in found.items()}
    assert lengths == {"8/12": {12}, "12/8": {8}, "8/8": {8}}
    assert all(list(rounds) == ["another", measure.PLAIN, measure.ADAPTIVE] for rounds in found.values())


def test_settings_side_by_side_differ_and_share_one_pair() -> None:
    found = measure.settings(up_scale("large", "small"), 8)
    assert len(set(found)) == 8
    assert {(policy.pretrain, policy.finetune) for policy in found} == {("large", "small")}
    assert found[0] == Policy("large", "small", {"helpful": 1.0})
