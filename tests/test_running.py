"""Trials in batches: the same answers as alone, whatever memory, interruption or company; kept as they come."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from eft_core import running
from eft_core.config import Limits, Request, Sampling
from eft_core.grid import Axis, Grid
from eft_core.items import Item
from eft_core.policy import Policy, up_scale
from eft_core.running import Grown, Progress, run
from eft_core.saved_runs import SavedRun, as_text, path_of, read_run, tidy
from eft_core.session import Session
from eft_core.settings import Settings
from eft_core.trials import Reply, Trials

ITEMS = tuple(Item(str(number), f"What is the capital of number {number}?") for number in range(4))
GRID = Grid(up_scale("large", "small"), Sampling(1.0, seed=2), (Axis.parse("beta=0,0.5,1"),))
TRIALS = Trials("sweep", "llama", ITEMS, GRID.settings(), Limits(12), 2, GRID.axes)


def replies(session: Any, trials: Trials = TRIALS, done: Any = ()) -> dict[int, Reply]:
    return {event.trial: event for event in run(session, trials, done) if isinstance(event, Reply)}


def texts(found: dict[int, Reply]) -> list[tuple[str, tuple[int, ...], str]]:
    return [(found[trial].text, found[trial].token_ids, found[trial].reason) for trial in sorted(found)]


def test_every_trial_is_answered_as_its_row_alone(session: Any) -> None:
    found = replies(session)
    assert sorted(found) == list(range(len(TRIALS)))
    for trial in (0, 7, 23):
        [alone] = session.ask(Request((TRIALS.row(trial),), TRIALS.limits, record=False))
        assert (alone.text, alone.token_ids) == (found[trial].text, found[trial].token_ids)
    assert len({each.text for each in found.values()}) > 12  # the settings and samples differ


def test_the_stream_tells_texts_as_they_grow_and_how_far_it_is(session: Any) -> None:
    grown: dict[int, str] = {}
    found: dict[int, Reply] = {}
    progress: list[Progress] = []
    for event in run(session, TRIALS):
        if isinstance(event, Grown):
            assert event.trial not in found, "nothing grows after its end"
            grown[event.trial] = grown.get(event.trial, "") + event.text
        elif isinstance(event, Reply):
            found[event.trial] = event
        elif isinstance(event, Progress):
            progress.append(event)
    assert len(grown) == len(TRIALS)
    assert all(found[trial].text.startswith(text) for trial, text in grown.items())
    assert [each.done for each in progress] == list(range(len(TRIALS) + 1))
    assert progress[0].left is None
    assert progress[-1].left == 0.0


def test_little_memory_makes_smaller_batches_and_the_same_texts(
    session: Any, families_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(running, "_request", counted(running._request, sizes))
    whole = texts(replies(session))
    assert max(sizes) == len(TRIALS)
    one = session.plan(Request((TRIALS.row(0),), TRIALS.limits))
    some = session.plan(Request(tuple(map(TRIALS.row, range(9))), TRIALS.limits))
    least = one.total / 1e9
    budget = some.total / 1e9
    assert least < budget
    tight = Session(Settings(families_file=families_file, device="cpu", memory_gb=budget), "llama")
    started: list[int] = []
    monkeypatch.setattr(tight, "stream", counted_rows(tight.stream, started))
    assert texts(replies(tight)) == whole
    assert len(started) > 1
    assert sum(started) == len(TRIALS)


def counted(make: Callable[..., Any], sizes: list[int]) -> Callable[..., Any]:
    def wrapped(trials: Trials, batch: Any) -> Any:
        sizes.append(len(batch))
        return make(trials, batch)

    return wrapped


def counted_rows(stream: Callable[..., Any], sizes: list[int]) -> Callable[..., Any]:
    def wrapped(request: Request) -> Any:
        sizes.append(len(request.rows))
        return stream(request)

    return wrapped


def test_what_cannot_fit_alone_or_is_not_there_is_refused_at_once(families_file: str) -> None:
    tiny = Session(Settings(families_file=families_file, device="cpu", memory_gb=1e-6), "llama")
    with pytest.raises(ValueError, match="memory"):
        run(tiny, TRIALS)
    unknown = Grid(Policy("huge"), Sampling()).settings()
    with pytest.raises(ValueError, match="no size 'huge'"):
        run(tiny, Trials("sweep", "llama", ITEMS, unknown))


def test_a_run_that_was_left_goes_on_and_ends_the_same(session: Any, tmp_path: Path) -> None:
    whole = texts(replies(session))
    path = path_of(TRIALS, session.family, tmp_path)
    with SavedRun(path, TRIALS, session.family) as saved, closing(run(session, TRIALS)) as events:
        for event in events:
            if isinstance(event, Reply):
                saved.add(event)
                if len(saved.replies) == 5:
                    break
    with SavedRun(path, TRIALS, session.family) as saved:
        assert len(saved.replies) == 5
        for event in run(session, TRIALS, saved.replies.keys()):
            if isinstance(event, Reply):
                assert event.trial not in saved.replies, "nothing is decoded twice"
                saved.add(event)
        assert texts(saved.replies) == whole
    found, kept = read_run(path.read_text(), path.name)
    assert found == TRIALS
    assert texts(kept) == whole


def test_a_killed_run_goes_on_and_ends_the_same(session: Any, families_file: str, tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_running import TRIALS, run, Reply, SavedRun, Session, Settings, path_of
session = Session(Settings(families_file={families_file!r}, device="cpu"), "llama")
with SavedRun(path_of(TRIALS, session.family, Path({str(tmp_path)!r})), TRIALS, session.family) as saved:
    for event in run(session, TRIALS):
        if isinstance(event, Reply):
            saved.add(event)
            if len(saved.replies) == 7:
                os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=False)
    assert killed.returncode == -9
    with SavedRun(path_of(TRIALS, session.family, tmp_path), TRIALS, session.family) as saved:
        assert len(saved.replies) == 7
        for event in run(session, TRIALS, saved.replies.keys()):
            if isinstance(event, Reply):
                saved.add(event)
        assert texts(saved.replies) == texts(replies(session))


def test_a_run_knows_its_weights(session: Any, sessions: Any, tmp_path: Path) -> None:
    """The same settings of another family, or of other weights, are another run."""
    other = sessions("gpt2")
    assert path_of(TRIALS, session.family, tmp_path) != path_of(TRIALS, other.family, tmp_path)


def test_a_run_goes_home_as_a_file_and_is_read_again(session: Any) -> None:
    found = replies(session)
    trials, kept = read_run(as_text(TRIALS, session.family, found), "mine.jsonl")
    assert (trials, kept) == (TRIALS, found)
    with pytest.raises(ValueError, match=r"mine\.jsonl"):
        read_run("", "mine.jsonl")


def test_records_are_kept_where_they_are_asked_for(session: Any) -> None:
    trials = Trials("tokens", "llama", ITEMS[:1], GRID.settings(), Limits(6), record=True)
    found = replies(session, trials)
    assert all(len(each.total_variation) == len(each.token_ids) for each in found.values())
    assert not any(found[0].total_variation)  # beta 0 is the small policy
    assert any(found[2].total_variation)


def test_old_runs_make_room(tmp_path: Path) -> None:
    import os

    for number in range(4):
        file = tmp_path / f"{number}.jsonl"
        file.write_text("x" * 100)
        os.utime(file, (number, number))
    tidy(tmp_path, 250)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2.jsonl", "3.jsonl"]
