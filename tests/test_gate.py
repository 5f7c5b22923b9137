"""Who may organise: the password and the accounts, their end, and what wrong passwords cost whom."""

import inspect
from contextlib import ExitStack

import pytest
from conftest import Clock

from components import gate as gate_module
from components.gate import (
    HOURS,
    LEAST_PASSWORD,
    LONGEST,
    LONGEST_OWN,
    MOST_OWN,
    MOST_WAITING,
    REMEMBERED,
    Gate,
    Pass,
)
from eft_core.bounds import Refused

PASSWORD = "correct horse battery"


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return Gate(PASSWORD, ("Ada", "grace"), clock)


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Space that signs Hugging Face accounts in."""
    for name, value in {"SPACE_ID": "ada/eft", "SYSTEM": "spaces", "OAUTH_CLIENT_ID": "ours"}.items():
        monkeypatch.setenv(name, value)


# --- the password


def test_the_password_gives_a_pass_that_ends(gate: Gate, clock: Clock) -> None:
    given = gate.enter(PASSWORD, "page")
    gate.check(given, "")
    clock.now += HOURS * 3600 - 1
    gate.check(given, "")
    clock.now += 1
    with pytest.raises(ValueError, match="sign in"):
        gate.check(given, "")


@pytest.mark.parametrize(
    "wrong", ["", PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1], "x" * 10_000_000, "\ud800" * 20, None, 7, [PASSWORD]]
)
def test_nothing_else_does(gate: Gate, wrong: object) -> None:
    with pytest.raises(ValueError, match="not the password"):
        gate.enter(wrong, "page")


@pytest.mark.parametrize("forged", [None, True, "Pass", {"until": 1e12}, 1e12, [1e12]])
def test_no_other_value_is_a_pass(gate: Gate, forged: object) -> None:
    with pytest.raises(ValueError, match="not signed in"):
        gate.check(forged, "")


def test_passwords_are_compared_in_constant_time_and_never_kept() -> None:
    assert "compare_digest" in inspect.getsource(Gate.enter)
    gate = Gate(PASSWORD, ())
    assert PASSWORD not in repr(vars(gate))


def test_there_is_no_default_password() -> None:
    gate = Gate("", ())
    assert not gate.takes_password
    assert "EFT_ORGANISER_PASSWORD" in gate.remedy
    for given in ("", None, "admin", PASSWORD):
        with pytest.raises(ValueError, match="EFT_ORGANISER_PASSWORD"):
            gate.enter(given, "page")
    with pytest.raises(ValueError, match="not signed in"):
        gate.check(Pass(float("inf")), "ada")


def test_a_short_password_opens_nothing_and_says_so() -> None:
    short = "x" * (LEAST_PASSWORD - 1)
    gate = Gate(short, ())
    assert "too short" in gate.remedy
    assert short not in gate.remedy
    with pytest.raises(ValueError, match="too short"):
        gate.enter(short, "page")
    assert Gate("x" * LEAST_PASSWORD, ()).remedy == ""


# --- accounts


@pytest.mark.usefixtures("space")
def test_an_organisers_account_needs_no_password_whatever_its_case(gate: Gate) -> None:
    for login in ("ada", "Ada", "GRACE"):
        gate.check(None, login)
    for login in ("", "ad", "ada ", "mallory"):
        with pytest.raises(ValueError, match="not signed in"):
            gate.check(None, login)
    assert Gate("", ("ada",)).remedy == ""


def test_without_a_sign_in_of_the_servers_own_no_name_counts(gate: Gate) -> None:
    with pytest.raises(ValueError, match="not signed in"):
        gate.check(None, "ada")
    assert "Space" in Gate("", ("ada",)).remedy


@pytest.mark.usefixtures("space")
def test_without_organisers_no_account_is_one() -> None:
    gate = Gate(PASSWORD, ())
    assert not gate.takes_login
    with pytest.raises(ValueError, match="not signed in"):
        gate.check(None, "ada")


# --- waiting


def wrong(gate: Gate, visitor: str) -> float:
    """A wrong password's wait."""
    wait = gate.knock(visitor)
    with pytest.raises(ValueError, match="not the password"):
        gate.enter("a wrong password", visitor)
    return wait


def test_wrong_passwords_of_a_page_wait_longer_each_time_up_to_a_bound(gate: Gate) -> None:
    waits = [wrong(gate, "page") for _ in range(8)]
    assert waits == [0.0, 1.0, 3.0, 7.0, 15.0, LONGEST_OWN, LONGEST_OWN, LONGEST_OWN]


def test_another_page_waits_a_bounded_time_however_many_guess(gate: Gate) -> None:
    assert wrong(gate, "page") == 0.0
    assert gate.knock("organiser") == 0.05
    for number in range(5000):
        wrong(gate, f"mallory {number}")
    assert gate.knock("organiser again") == LONGEST
    gate.check(gate.enter(PASSWORD, "organiser again"), "")


def test_many_at_once_do_not_pass_for_the_first(gate: Gate) -> None:
    assert [gate.knock("page") for _ in range(4)] == [0.0, 1.0, 3.0, 7.0]


def test_the_right_password_and_time_clear_the_wait(gate: Gate, clock: Clock) -> None:
    for _ in range(4):
        wrong(gate, "page")
    gate.knock("page")
    gate.enter(PASSWORD, "page")
    assert gate.knock("page") == 0.0
    for _ in range(4):
        wrong(gate, "page")
    clock.now += REMEMBERED + 1
    assert gate.knock("page") == 0.0


def test_few_wait_at_once_and_the_others_are_told_to_come_back(gate: Gate) -> None:
    """Each that waits is a call that others wait behind."""
    with ExitStack() as waiting:
        for number in range(MOST_WAITING):
            waiting.enter_context(gate.attempt(f"mallory {number}"))
        with pytest.raises(Refused, match="too many passwords wait already: try again in 5 seconds".capitalize()):
            gate.attempt("organiser").__enter__()
    with gate.attempt("organiser") as wait:
        assert wait <= LONGEST


def test_an_address_has_few_attempts_and_then_is_told_when(gate: Gate, clock: Clock) -> None:
    for _ in range(MOST_OWN):
        with gate.attempt("mallory"):
            clock.now += 1
    for _ in range(100):
        with pytest.raises(Refused, match="Too many passwords came from where you are: try again in 10 minutes"):
            gate.attempt("mallory").__enter__()
    with gate.attempt("organiser"):
        pass
    clock.now += REMEMBERED - MOST_OWN + 0.001
    with gate.attempt("mallory"):
        pass


def test_attempts_do_not_fill_the_memory(gate: Gate) -> None:
    for number in range(3 * gate_module.MOST_ATTEMPTS):
        gate.knock(f"visitor {number}")
    assert len(gate._attempts) == gate_module.MOST_ATTEMPTS
