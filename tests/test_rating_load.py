"""Many annotators at once through the real HTTP interface: nothing lost or doubled (times: tests/rating_load.py)."""

from rating_load import run


def test_annotators_at_once_lose_and_double_nothing() -> None:
    found = run(count=12, seconds=8, pause=0.3)
    assert found["confirmed"] > 50
    assert (found["lost"], found["doubled"], found["refused"]) == (0, 0, 0)
