"""Members on devices of their own: what is planned for each, and on two GPUs what is drawn."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from eft_core.config import Limits, Request, Sampling, Speculation
from eft_core.family import default_columns
from eft_core.policy import Member
from eft_core.session import Session
from eft_core.settings import Settings

SMALL = (Member("small"), Member("small", "helpful"))


@pytest.fixture
def settings(families_file: str) -> Settings:
    return Settings(families_file=families_file, device="cpu", threads=1)


def on(device: str) -> Any:
    return {str(member): device for member in SMALL}


def compared(session: Session, **ways: Any) -> Request:
    policies = [policy for _, policy in default_columns(session.family)]
    return Request.compare("What is the capital of Kenya?", policies, Sampling(1.0, seed=2), Limits(40), **ways)


def test_each_device_is_planned_for_what_is_placed_on_it(settings: Settings) -> None:
    """ "meta" is a device that every torch has: plans ask nothing of it."""
    whole, apart = Session(settings, "llama"), Session(replace(settings, placement=on("meta")), "llama")
    assert {apart.models.residence(member).device for member in SMALL} == {"meta"}
    assert apart.models.residence(Member("large")).device == "cpu"
    one, two = whole.plan(compared(whole)), apart.plan(compared(apart))
    assert set(two.available) == {"cpu", "meta"}
    small = sum(apart.models.weight_bytes(member) for member in SMALL)
    assert two.needed_on("meta") > small
    assert two.needed_on("cpu") + small < one.needed_on("cpu")
    assert "on cpu" in str(two)
    assert "on meta" in str(two)


def test_a_device_that_is_not_here_is_refused_with_the_member_that_asks_for_it(settings: Settings) -> None:
    with pytest.raises(ValueError, match=r"the device of base\[small\] = 'gpu' is not a device: use auto, cpu, cuda"):
        Session(replace(settings, placement={"base[small]": "gpu"}), "llama")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs: run pytest tests/test_placement.py there")
def test_two_gpus_draw_what_one_draws(settings: Settings) -> None:
    """Captured on both, in float32, plainly and with drafts."""
    gpu = replace(settings, device="cuda:0", dtype="float32", forward="captured")
    one, two = Session(gpu, "llama"), Session(replace(gpu, placement=on("cuda:1")), "llama")
    expected = [answer.text for answer in one.ask(compared(one))]
    for speculation in (None, Speculation(4, "noise"), Speculation(None, "noise")):
        assert [answer.text for answer in two.ask(compared(two, speculation=speculation))] == expected
    assert {two.models.load(member).device.index for member in SMALL} == {1}
    assert all(two.models.load(member).captured for member in two.models.loaded())
