"""Policies check themselves, say what they run, and travel as JSON."""

import math

import pytest

import eft_core
from eft_core.config import Limits, Request, Row, Sampling
from eft_core.policy import Member, Policy, amplify, down_scale, interpolate, plain, realign, tuned, up_scale
from eft_core.settings import Settings

BASE_S, BASE_L, HELP_S = Member("small"), Member("large"), Member("small", "helpful")
HARM_S = Member("small", "harmless")


@pytest.mark.parametrize(
    ("policy", "weights"),
    [
        (plain("large"), {BASE_L: 1}),
        (tuned("helpful", "small"), {HELP_S: 1}),
        (up_scale("large", "small"), {HELP_S: 1, BASE_S: -1, BASE_L: 1}),
        (down_scale("small", "large"), {Member("large", "helpful"): 1, BASE_L: -1, BASE_S: 1}),
        (realign("small", "helpful", 0.25), {HELP_S: 0.25, BASE_S: 0.75}),
        (interpolate("large", "small", "helpful", "harmless", 0.3), {HELP_S: 0.3, HARM_S: 0.7, BASE_S: -1, BASE_L: 1}),
        (amplify("large", "small", "helpful", 1.5), {HELP_S: 1, BASE_S: -1.5, BASE_L: 1.5}),
        (Policy("large", "small", {"helpful": 1}, amplification=0), {HELP_S: 1}),
        (Policy("large", "small", {"helpful": 0}), {BASE_L: 1}),
        (Policy("large", "small", {"helpful": 0.7, "harmless": 0.3}, amplification=0), {HELP_S: 0.7, HARM_S: 0.3}),
    ],
)
def test_weights_are_those_of_the_formula_and_zero_terms_are_not_run(
    policy: Policy, weights: dict[Member, float]
) -> None:
    assert policy.weights() == pytest.approx(weights)
    assert set(policy.members()) == set(weights)
    assert sum(policy.weights().values()) == pytest.approx(1)


def test_a_filter_runs_the_small_policy_and_both_bases() -> None:
    filtered = Policy("large", "small", {"helpful": 1}, nucleus=0.95)
    assert set(filtered.members()) == {BASE_L, BASE_S, HELP_S}
    assert not Policy("small", "small", {"helpful": 1}, nucleus=0.95).filtered
    assert Policy("small", "small", {"helpful": 1}, nucleus=0.95).members() == (HELP_S,)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pretrain": ""}, "pretrain"),
        ({"pretrain": None}, "pretrain"),
        ({"pretrain": "a", "behaviours": {"helpful": 1}}, "need finetune"),
        ({"pretrain": "a", "finetune": "a", "behaviours": {"helpful": -0.5}}, "reverses a fine-tuning"),
        ({"pretrain": "a", "finetune": "a", "behaviours": {"helpful": math.nan}}, "must be a number"),
        ({"pretrain": "a", "finetune": "a", "behaviours": {"helpful": "1"}}, "must be a number"),
        ({"pretrain": "a", "finetune": "a", "behaviours": {"helpful": True}}, "must be a number"),
        ({"pretrain": "a", "finetune": "a", "behaviours": (("h", 1), ("h", 1))}, "named once"),
        ({"pretrain": "a", "amplification": math.inf}, "must be a number"),
        ({"pretrain": "a", "amplification": -1}, "outside"),
        ({"pretrain": "a", "nucleus": 0}, "leaves no token"),
        ({"pretrain": "a", "nucleus": 1.1}, "outside"),
    ],
)
def test_wrong_policies_are_refused_with_a_remedy(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Policy(**wrong)


def test_a_negative_weight_needs_permission_by_name_and_never_travels() -> None:
    reversed_ = Policy("a", "a", {"helpful": -0.5}, allow_disalignment=True)
    assert reversed_.weights() == {Member("a", "helpful"): -0.5, Member("a"): 1.5}
    with pytest.raises(ValueError, match="not exported"):
        reversed_.to_json()
    for text in (
        '{"pretrain": "a", "finetune": "a", "behaviours": {"helpful": -0.5}}',
        '{"pretrain": "a", "finetune": "a", "behaviours": {"helpful": -0.5}, "allow_disalignment": true}',
    ):
        with pytest.raises(ValueError, match=r"reverses|unknown policy key"):
            Policy.from_json(text)


def test_json_goes_there_and_back() -> None:
    for policy in (plain("large"), Policy("large", "small", {"helpful": 0.7, "harmless": 0.1}, 1.5, 0.95)):
        assert Policy.from_json(policy.to_json()) == policy


HOSTILE = ["", "[]", "3", "null", "{}", '{"pretrain": 3}', '{"pretrain": ["a"]}', '{"pretrain": "a", "lambda": 1}']
BROKEN = ['{"pretrain": "a"', '{"pretrain": "a", "nucleus": "x"}', '{"pretrain": "a", "behaviours": [1]}']


@pytest.mark.parametrize("text", [*HOSTILE, *BROKEN])
def test_hostile_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Policy.from_json(text)


def test_formulas_show_their_weights() -> None:
    assert plain("large").formula() == "base(large)"
    assert tuned("helpful", "small").formula() == "helpful(small)"
    assert up_scale("large", "small").formula() == "base(large) + [helpful − base](small)"
    half = Policy("large", "small", {"helpful": 0.5}, 1.5, 0.9)
    expected = "1.5·base(large) − 0.5·base(small) + 0.5·[helpful − base](small), filter p = 0.9"
    assert half.formula() == expected


@pytest.mark.parametrize(
    "wrong",
    [
        *({"temperature": -1}, {"temperature": math.nan}, {"top_k": 0}, {"top_k": 1.5}, {"top_p": 0}, {"top_p": 2}),
        *({"seed": -1}, {"seed": 2**63}, {"seed": 10**400}, {"seed": "1"}),
    ],
)
def test_wrong_sampling_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)


def test_limits_and_rows_and_requests_check_themselves() -> None:
    assert Limits(stop="x").stop == ("x",)  # type: ignore[arg-type]
    for wrong in ({"max_new_tokens": 0}, {"max_new_tokens": 2.5}, {"stop": ("",)}, {"stop": (3,)}):
        with pytest.raises(ValueError, match=r"max_new_tokens|stop"):
            Limits(**wrong)
    with pytest.raises(ValueError, match="prompt is empty"):
        Row(" \n\t", plain("a"))
    with pytest.raises(ValueError, match="at least one policy"):
        Request(())


def test_compare_gives_every_policy_every_sample() -> None:
    request = Request.compare("hi", [plain("a"), plain("b")], samples=2)
    assert [(row.policy.pretrain, row.sample) for row in request.rows] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_settings_come_from_the_environment_given() -> None:
    environment = {"EFT_FAMILY": "pythia", "EFT_MEMORY_GB": "1.5", "EFT_THREADS": "2", "EFT_FAMILIES": "my.toml"}
    assert Settings.from_environment(environment) == Settings("pythia", "my.toml", memory_gb=1.5, threads=2)
    assert Settings.from_environment({}).workers is None
    assert [Settings.from_environment({"EFT_WORKERS": each}).workers for each in ("0", "3")] == [0, 3]
    for wrong in ("-1", "many", "1.5"):
        with pytest.raises(ValueError, match="EFT_WORKERS"):
            Settings.from_environment({"EFT_WORKERS": wrong})
    with pytest.raises(ValueError, match="EFT_MEMORY_GB"):
        Settings.from_environment({"EFT_MEMORY_GB": "much"})


def test_the_package_gives_its_names_and_no_others() -> None:
    for name in eft_core.__all__:
        assert getattr(eft_core, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = eft_core.nothing
