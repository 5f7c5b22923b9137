"""A grid: axes as people write them, and the settings at their crossings."""

import pytest

from eft_core.config import Sampling
from eft_core.grid import Axis, Grid
from eft_core.policy import plain, tuned, up_scale

UP = up_scale("large", "small")


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("beta=0:1:0.25", "beta", (0, 0.25, 0.5, 0.75, 1)),
        (" beta = 0, 0.5,1 ", "beta", (0, 0.5, 1)),
        ("seed=1:3", "seed", (1, 2, 3)),
        ("seed=9223372036854775807", "seed", (2**63 - 1,)),
        ("nucleus=none,0.99,0.9", "nucleus", (None, 0.99, 0.9)),
        ("pretrain=small,large", "pretrain", ("small", "large")),
        ("weight[helpful]=0,2", "weight[helpful]", (0, 2)),
        ("share[helpful/harmless]=0:1:0.1", "share[helpful/harmless]", tuple(n / 10 for n in range(11))),
    ],
)
def test_an_axis_is_read_as_it_is_written(text: str, key: str, values: tuple[object, ...]) -> None:
    axis = Axis.parse(text)
    assert (axis.key, axis.values) == (key, values)
    assert Axis.parse(str(axis)) == axis


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("beta", "no axis"),
        ("beta=", "no axis"),
        ("colour=1", "no axis"),
        ("beta=x", "no number"),
        ("beta=nan", "not finite"),
        ("beta=inf:1:1", "not finite"),
        ("beta=0:1:0", "no range"),
        ("beta=1:0:0.1", "no range"),
        ("beta=0:1:0.1:2", "no range"),
        ("beta=0:1e9:1e-9", "no range"),
        ("beta=1,1", "twice"),
        ("beta=,", "no values"),
        ("weight=1", "one behaviour"),
        ("beta[helpful]=1", "no behaviour"),
        ("share[helpful]=1", "two behaviours"),
        ("share[helpful/helpful]=1", "two behaviours"),
        ("beta=" + "1," * 100_000, "no axis"),
    ],
)
def test_what_is_no_axis_is_refused_with_an_example(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        Axis.parse(text)
    assert len(str(refused.value)) < 300


def test_settings_are_all_crossings_the_last_axis_fastest() -> None:
    grid = Grid(UP, Sampling(seed=5), (Axis.parse("beta=0,1"), Axis.parse("temperature=0,0.5,1")))
    settings = grid.settings()
    assert [each.at for each in settings] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [each.policy.amplification for each in settings] == [0, 0, 0, 1, 1, 1]
    assert [each.sampling.temperature for each in settings] == [0, 0.5, 1] * 2
    assert {each.sampling.seed for each in settings} == {5}


def test_every_axis_moves_its_part_and_nothing_else() -> None:
    def at(axis: str) -> list[str]:
        return [setting.policy.formula() for setting in Grid(UP, axes=(Axis.parse(axis),)).settings()]

    assert at("pretrain=small,large") == [tuned("helpful", "small").formula(), UP.formula()]
    assert at("finetune=small,large") == [UP.formula(), tuned("helpful", "large").formula()]
    assert at("weight[harmless]=0.5") == ["base(large) + [helpful − base](small) + 0.5·[harmless − base](small)"]
    assert at("share[helpful/harmless]=0.25") == [
        "base(large) + 0.25·[helpful − base](small) + 0.75·[harmless − base](small)"
    ]
    assert at("nucleus=none,0.9") == [UP.formula(), f"{UP.formula()}, filter p = 0.9"]
    assert [each.sampling.seed for each in Grid(UP, axes=(Axis.parse("seed=1:2"),)).settings()] == [1, 2]


def test_no_axis_is_one_setting() -> None:
    [setting] = Grid(UP).settings()
    assert (setting.at, setting.policy) == ((), UP)


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        (("beta=0", "beta=1"), "vary the same"),
        (("share[helpful/harmless]=0", "weight[helpful]=1"), "share"),
        (("seed=0:999", "beta=0:9:1"), "at most"),
    ],
)
def test_axes_that_do_not_go_together_are_refused(axes: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Grid(UP, axes=tuple(map(Axis.parse, axes)))


@pytest.mark.parametrize(
    "axis",
    [
        "weight[helpful]=-1",
        "beta=11",
        "nucleus=0",
        "nucleus=2",
        "temperature=-1",
        "seed=0.5",
        "share[helpful/harmless]=1.5",
    ],
)
def test_a_value_that_no_policy_may_have_is_refused(axis: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        Grid(UP, axes=(Axis.parse(axis),)).settings()


def test_a_base_has_no_fine_tuning_to_vary() -> None:
    with pytest.raises(ValueError, match="needs a fine-tuned policy"):
        Grid(plain("large"), axes=(Axis.parse("beta=0,1"),)).settings()
    assert len(Grid(plain("large"), axes=(Axis.parse("pretrain=small,large"),)).settings()) == 2
