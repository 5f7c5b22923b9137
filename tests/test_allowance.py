"""Allowances: what is let in, what is refused and until when, on a clock that the test moves."""

import math
import random
import threading
from contextlib import ExitStack

import pytest
from conftest import Clock

from eft_core.allowance import MOST_KEPT, OWNER, Allowance, Rates
from eft_core.bounds import Bounds, Refused, lasting
from eft_core.settings import Settings

OPEN = Bounds(**dict.fromkeys(("rows", "rows_total", "tokens", "requests", "messages", "waiting", "prompt")))


def broken(allowance: Allowance, who: str, rows: int) -> None:
    """A request that fails inside."""
    with allowance.holding(who, rows, 0):
        raise KeyError


def bounded(clock: Clock, **bounds: int | None) -> Allowance:
    """No limits but these."""
    values = {name: getattr(OPEN, name) for name in OPEN.__slots__} | bounds
    return Allowance(Bounds(**values), clock)


# --- buckets


def test_a_bucket_gives_its_fill_at_once_and_as_much_again_in_a_minute(clock: Clock) -> None:
    rates = Rates(60, clock)
    for _ in range(60):
        assert rates.wait("a", 1) == 0
        rates.take("a", 1)
    assert rates.wait("a", 1) == pytest.approx(1.0)
    clock.now += 0.5
    assert rates.wait("a", 1) == pytest.approx(0.5)
    clock.now += 0.5
    assert rates.wait("a", 1) == 0
    assert rates.wait("a", 10) == pytest.approx(9.0)
    assert rates.wait("b", 60) == 0, "others have their own"
    assert rates.wait("a", 61) == math.inf


def test_after_the_wait_that_was_told_it_is_let_in(clock: Clock) -> None:
    chance = random.Random(1)
    rates = Rates(100, clock)
    for _ in range(2000):
        clock.now += chance.uniform(0, 3)
        amount = chance.randint(1, 100)
        clock.now += rates.wait("a", amount) + 1e-6
        assert rates.wait("a", amount) == 0
        rates.take("a", amount)
        if chance.random() < 0.3:
            rates.take("a", -chance.randint(0, amount))


def test_no_more_than_two_fills_in_any_minute(clock: Clock) -> None:
    chance = random.Random(2)
    rates, taken = Rates(50, clock), []
    for _ in range(3000):
        clock.now += chance.uniform(0, 1)
        if rates.wait("a", amount := chance.randint(1, 20)) == 0:
            rates.take("a", amount)
            taken.append((clock.now, amount))
    for at, _ in taken:
        assert sum(amount for when, amount in taken if at <= when < at + 60) <= 100


def test_a_million_addresses_leave_no_more_than_the_most_that_are_kept(clock: Clock) -> None:
    rates = Rates(10, clock)
    for number in range(3 * MOST_KEPT):
        rates.take(str(number), 1)
    assert len(rates) == MOST_KEPT
    clock.now += 61
    rates.take("a", 1)
    assert len(rates) == 1, "whoever was away for a minute is forgotten"


def test_no_limit_keeps_nothing(clock: Clock) -> None:
    rates = Rates(None, clock)
    rates.take("a", 10**9)
    assert rates.wait("a", 10**9) == 0
    assert len(rates) == 0


# --- requests


def test_requests_of_a_minute_are_counted_by_visitor(clock: Clock) -> None:
    allowance = bounded(clock, requests=3)
    for _ in range(3):
        allowance.ask("a")
    with pytest.raises(Refused, match=r"^You asked 3 times within a minute, which is the most: try again in 20 sec"):
        allowance.ask("a")
    allowance.ask("b")
    for _ in range(20):
        allowance.ask(OWNER)
    clock.now += 20.001
    allowance.ask("a")


def test_what_is_refused_costs_nothing(clock: Clock) -> None:
    allowance = bounded(clock, requests=1)
    allowance.ask("a")
    for _ in range(50):
        with pytest.raises(Refused) as refusal:
            allowance.ask("a")
    clock.now += refusal.value.seconds + 0.001
    allowance.ask("a")


def test_requests_of_all_bound_the_owner_too(clock: Clock) -> None:
    allowance = bounded(clock, requests_total=2)
    allowance.ask("a")
    allowance.ask(OWNER)
    with pytest.raises(Refused, match="This server is asked by too many at once: try again in 30 seconds"):
        allowance.ask(OWNER)


def test_messages_have_a_count_of_their_own(clock: Clock) -> None:
    allowance = bounded(clock, messages=2, requests=1)
    allowance.ask("a")
    allowance.tell("a")
    allowance.tell("a")
    with pytest.raises(Refused, match="try again in 30 seconds"):
        allowance.tell("a")


def test_prompts_are_measured_with_all_that_stands_before_them(clock: Clock) -> None:
    allowance = bounded(clock, prompt=10)
    allowance.check_prompt("12345", "12345")
    with pytest.raises(Refused, match=r"^The prompt has 11 characters and at most 10 fit: shorten it\.$"):
        allowance.check_prompt("12345678901")
    with pytest.raises(Refused, match="system prompt and the earlier turns have 11 characters"):
        allowance.check_prompt("12345", "123", "123")


# --- rows and tokens


def test_rows_of_a_visitor_come_back_when_the_block_ends_however_it_ends(clock: Clock) -> None:
    allowance = bounded(clock, rows=4)
    with allowance.holding("a", 3, 0), allowance.holding("a", 1, 0):
        assert allowance.rows == 4
        with pytest.raises(Refused, match=r"4 of your answers are being written.*stop them, or try again in about"):
            allowance.holding("a", 1, 0).__enter__()
        with allowance.holding("b", 4, 0), allowance.holding(OWNER, 400, 0):
            assert allowance.waiting == 4
    with pytest.raises(KeyError):
        broken(allowance, "a", 4)
    assert (allowance.rows, allowance.waiting) == (0, 0)
    with allowance.holding("a", 4, 0):
        pass


def test_rows_and_requests_of_all_bound_everybody(clock: Clock) -> None:
    allowance = bounded(clock, rows_total=10, waiting=2)
    with allowance.holding(OWNER, 6, 0):
        with pytest.raises(Refused, match="as many answers at once as it can: try again in 5 seconds"):
            allowance.holding("a", 5, 0).__enter__()
        with allowance.holding("a", 1, 0), pytest.raises(Refused, match="2 requests run or wait here"):
            allowance.holding("b", 1, 0).__enter__()


def test_what_can_never_be_let_in_is_told_so(clock: Clock) -> None:
    allowance = bounded(clock, rows=4, rows_total=8, tokens=100)
    for who, rows, tokens, text in [("a", 5, 1, "the 4"), ("a", 1, 101, "the 100"), (OWNER, 9, 1, "the 8")]:
        with pytest.raises(Refused, match=f"more than {text} .*: ask for fewer columns or shorter answers") as refusal:
            allowance.holding(who, rows, tokens).__enter__()
        assert refusal.value.seconds == math.inf


def test_tokens_that_were_not_drawn_are_given_back(clock: Clock) -> None:
    allowance = bounded(clock, tokens=100)
    with allowance.holding("a", 1, 90) as grant:
        grant.drawn = 10
        with pytest.raises(Refused, match="shorten the answers, or try again in 24 seconds"):
            allowance.holding("a", 1, 50).__enter__()
    with allowance.holding("a", 1, 90):
        pass


def test_what_the_minute_gave_back_is_not_given_twice(clock: Clock) -> None:
    """A place that is held for a minute, and drawn from never, would otherwise be worth two shares."""
    allowance = bounded(clock, tokens=100)
    with allowance.holding("a", 1, 100):
        clock.now += 60
        with allowance.holding("a", 1, 100) as grant:
            grant.drawn = 100
    with pytest.raises(Refused):
        allowance.holding("a", 1, 50).__enter__()


def test_the_wait_is_that_of_the_usual_request(clock: Clock) -> None:
    allowance = bounded(clock, rows=1)
    for _ in range(100):
        with allowance.holding("b", 1, 0):
            clock.now += 30
    with allowance.holding("a", 1, 0):
        clock.now += 10
        with pytest.raises(Refused, match="try again in about 20 seconds"):
            allowance.holding("a", 1, 0).__enter__()
        clock.now += 1000
        with pytest.raises(Refused, match="try again in about 1 second"):
            allowance.holding("a", 1, 0).__enter__()


def test_a_long_run_leaves_its_visitor_half(clock: Clock) -> None:
    allowance = bounded(clock, rows=24, tokens=1000)
    assert allowance.together("a", 10) == 12
    assert allowance.together("a", 100) == 5
    assert allowance.together("a", 5000) == 1
    assert allowance.together(OWNER, 10) is None
    assert bounded(clock).together("a", 10) is None


def test_with_patience_it_waits_for_what_ends() -> None:
    allowance = Allowance(Bounds(rows=1))
    with ExitStack() as stack:
        stack.enter_context(allowance.holding("a", 1, 0))
        began, ended = threading.Event(), threading.Event()

        def second() -> None:
            began.set()
            with allowance.holding("a", 1, 0, patience=60):
                ended.set()

        thread = threading.Thread(target=second)
        thread.start()
        assert began.wait(60)
        assert not ended.is_set()
        stack.close()
        assert ended.wait(60)
        thread.join()
    assert allowance.rows == 0


def test_many_threads_never_pass_a_bound() -> None:
    allowance = Allowance(Bounds(rows=5, rows_total=20, tokens=None, waiting=None))
    seen: list[int] = []

    def visitor(number: int) -> None:
        for _ in range(200):
            try:
                with allowance.holding(str(number % 8), 1 + number % 3, 10):
                    seen.append(allowance.rows)
            except Refused:
                pass

    threads = [threading.Thread(target=visitor, args=(number,)) for number in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert seen
    assert max(seen) <= 20
    assert (allowance.rows, allowance.waiting) == (0, 0)


# --- words and settings


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "1 second"), (1.0, "1 second"), (1.2, "2 seconds"), (90.0, "90 seconds"), (91.0, "2 minutes")],
)
def test_waits_in_words(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


def test_bounds_from_the_environment() -> None:
    assert Settings.from_environment({}).limits == Bounds()
    found = Settings.from_environment({"EFT_LIMIT_ROWS": "7", "EFT_LIMIT_TOKENS": "none", "EFT_LIMIT_WAITING": "0"})
    assert found.limits == Bounds(rows=7, tokens=None, waiting=None)
    assert found.proxies is None
    assert Settings.from_environment({"EFT_PROXIES": "0"}).proxies == 0


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "1e3", "9" * 50])
def test_bounds_that_are_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"EFT_LIMIT_ROWS = .* is not a whole number: write one, or write none"):
        Settings.from_environment({"EFT_LIMIT_ROWS": text})
