"""What visitors compared last: the server's own record, one a visitor, bounded."""

from typing import Any

from components.latest import Latest
from eft_core.config import Limits, Request, Row, Sampling
from eft_core.policy import plain, tuned


def ask(session: Any, *policies: Any, prompt: str = "What?") -> tuple[Request, Any]:
    request = Request(tuple(Row(prompt, policy, Sampling(1.0)) for policy in policies), Limits(4))
    return request, session.ask(request)


def test_a_run_is_kept_with_what_makes_its_answers_again(session: Any) -> None:
    latest = Latest()
    request, answers = ask(session, plain("large"), tuned("helpful", "small"))
    latest.keep("ada", "run1", session.family, request, ["A", "B"], answers)
    shown = latest.of("ada")
    assert shown is not None
    assert [(each.label, each.text) for each in shown.answers] == [("A", answers[0].text), ("B", answers[1].text)]
    assert shown.answers[1].revisions.keys() == {"tuned[helpful][small]"}
    assert latest.of("bob") is None


def test_a_column_that_was_run_alone_joins_those_of_its_prompt(session: Any) -> None:
    latest = Latest()
    latest.keep("ada", "run1", session.family, *_labelled(ask(session, plain("large"), plain("small")), "A", "B"))
    latest.keep("ada", "run2", session.family, *_labelled(ask(session, tuned("helpful", "small")), "C"))
    assert [each.label for each in latest.of("ada").answers] == ["A", "B", "C"]  # type: ignore[union-attr]
    latest.keep("ada", "run3", session.family, *_labelled(ask(session, plain("small")), "C"))
    assert len(latest.of("ada").answers) == 3  # type: ignore[union-attr]
    latest.keep("ada", "run4", session.family, *_labelled(ask(session, plain("small"), prompt="Else?"), "D"))
    assert [each.label for each in latest.of("ada").answers] == ["D"]  # type: ignore[union-attr]


def _labelled(asked: tuple[Request, Any], *labels: str) -> tuple[Request, list[str], Any]:
    return asked[0], list(labels), asked[1]


def test_the_oldest_visitors_are_let_go(session: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("components.latest.MOST_VISITORS", 2)
    latest = Latest()
    for visitor in ("a", "b", "c"):
        latest.keep(visitor, visitor, session.family, *_labelled(ask(session, plain("small")), "A"))
    assert [latest.of(visitor) is None for visitor in ("a", "b", "c")] == [True, False, False]
