"""Trials and replies as data: numbers, what goes to disk and comes back, what a stranger's file may not do."""

import json
from typing import Any

import pytest

from eft_core.config import Limits, Sampling
from eft_core.grid import Axis, Grid, Setting
from eft_core.items import Item
from eft_core.policy import Policy, up_scale
from eft_core.trials import Reply, Trials

GRID = Grid(up_scale("large", "small"), Sampling(0.7, top_k=5, seed=3), (Axis.parse("nucleus=none,0.9"),))
ITEMS = (Item("a", "What is it? <b>\u2028"), Item("b", "Which?", "sensitive", ("B",), ("p", "q"), "ref"))
TRIALS = Trials("sweep", "llama", ITEMS, GRID.settings(), Limits(9, ("\n",)), 3, GRID.axes)


def test_trials_are_numbered_item_by_item() -> None:
    assert len(TRIALS) == 12
    places = [TRIALS.place(trial) for trial in range(len(TRIALS))]
    assert places == [(item, setting, sample) for item in range(2) for setting in range(2) for sample in range(3)]
    assert [TRIALS.number(*place) for place in places] == list(range(12))


def test_settings_share_random_streams_and_nothing_else_does() -> None:
    rows = {TRIALS.place(trial): TRIALS.row(trial) for trial in range(len(TRIALS))}
    assert rows[1, 0, 2].policy == GRID.settings()[0].policy
    assert rows[1, 1, 2].policy == GRID.settings()[1].policy
    streams = {(item, sample): {rows[item, setting, sample].sample for setting in range(2)}
               for item, _, sample in rows}  # fmt: skip
    assert all(len(each) == 1 for each in streams.values())
    assert len(set.union(*streams.values())) == len(streams)


def test_one_prompt_answers_as_compare_does() -> None:
    alone = Trials("sweep", "llama", ITEMS[:1], GRID.settings())
    assert alone.row(0).sample == 0


def test_trials_and_replies_come_back_from_json() -> None:
    assert Trials.from_dict(json.loads(json.dumps(TRIALS.to_dict()))) == TRIALS
    reply = Reply(4, "text \U0001f9ea", (1, 2), "end", 0.25, total_variation=(0.5, 0.0))
    assert Reply.from_dict(json.loads(json.dumps(reply.to_dict())), 12) == reply
    empty = Reply(0, "", (), "failed", 0.0, "no finite probability")
    assert Reply.from_dict(json.loads(json.dumps(empty.to_dict())), 12) == empty


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to run"):
        Trials("sweep", "llama", (), GRID.settings())
    with pytest.raises(ValueError, match="samples"):
        Trials("sweep", "llama", ITEMS, GRID.settings(), samples=0)
    with pytest.raises(ValueError, match="more than"):
        Trials("sweep", "llama", ITEMS * 1000, GRID.settings(), samples=1000)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The trials as values, with one of them changed."""
    values: Any = json.loads(json.dumps(TRIALS.to_dict()))
    *way, last = path.split(".")
    at = values
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    at[int(last) if isinstance(at, list) else last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "other/1"),
        ("items", []),
        ("items", 7),
        ("items.0", "prompt"),
        ("items.0.surprise", 1),
        ("settings", None),
        ("settings.0.policy.behaviours", {"helpful": -1}),
        ("settings.0.policy.pretrain", 5),
        ("settings.0.sampling.temperature", "hot"),
        ("settings.0.sampling.surprise", 1),
        ("settings.0.at", ["x"]),
        ("axes", ["<script>"]),
        ("limits.max_new_tokens", 10**9),
        ("samples", 1e99),
    ],
)
def test_a_strangers_run_is_checked_in_every_part(path: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        Trials.from_dict(changed(path, value))
    strange: tuple[Any, ...] = (None, [], "x", 3, {})
    for odd in strange:
        with pytest.raises(ValueError, match="no run"):
            Trials.from_dict(odd)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"trial": 99},
        {"text": 5},
        {"reason": "bored"},
        {"token_ids": [-1]},
        {"token_ids": ["a"]},
        {"token_ids": 7},
        {"total_variation": 0.5},
        {"seconds": float("inf")},
        {"total_variation": [2.0]},
        {"message": {}},
    ],
)
def test_a_strangers_reply_is_checked_in_every_part(values: dict[str, Any]) -> None:
    good = {"trial": 1, "text": "x", "reason": "end", "seconds": 0.1, "token_ids": [1]}
    Reply.from_dict(good, 12)
    with pytest.raises(ValueError, match=r"\.$"):
        Reply.from_dict(good | values if values else {}, 12)


def test_a_disaligned_policy_never_goes_to_disk() -> None:
    reverse = Policy("large", "small", {"helpful": -1.0}, allow_disalignment=True)
    with pytest.raises(ValueError, match="disalignment"):
        Trials("sweep", "llama", ITEMS, (Setting((), reverse, Sampling()),)).to_dict()
