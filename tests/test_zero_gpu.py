"""ZeroGPU: calls in forked processes by the real package `spaces`, with a GPU that is this CPU (`zero_gpu_here`)."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import save_model, tiny_config

from components.zero_gpu import LONGEST, Refused, Waits, ZeroGPU, decorator, failure, seconds
from eft_core.config import Limits, Request, Sampling, Speculation, Text
from eft_core.events import Downloading, Loading, Queued, Reading, Timing, Working
from eft_core.family import default_columns
from eft_core.policy import Member, plain, tuned
from eft_core.session import Session, Shared
from eft_core.settings import Settings

ROOT = Path(__file__).parent.parent
GB = 10**9


def on_zero_gpu(what: str, families_file: str) -> Any:
    """What `zero_gpu_here` finds."""
    pytest.importorskip("spaces")
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "zero_gpu_here.py"), families_file, what]
    there = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=there, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found(families_file: str) -> Any:
    return on_zero_gpu("called", families_file)


def test_texts_are_those_of_a_plain_session(found: Any) -> None:
    assert all(found["expected"])
    assert found["texts"] == found["expected"]
    assert found["speculative"] == found["expected"]


def test_a_worker_that_is_used_again_gives_the_same(found: Any) -> None:
    assert found["again"] == found["expected"]


def test_a_fork_waits_for_nobody_in_the_queue_of_the_process_that_it_left(found: Any) -> None:
    assert found["here"] == found["expected"]
    assert found["queue"] == 0


def test_closing_the_stream_ends_the_call_and_the_next_one_runs(found: Any) -> None:
    assert found["stopped"] < 10
    assert found["after"] == found["expected"]
    lent = [path for path, _ in found["calls"]]
    assert lent.count("/release") == lent.count("/schedule") - 1  # all but the one that was refused


def test_inspection_reads_the_same_numbers(found: Any) -> None:
    assert found["inspected"] < 1e-4


def test_a_family_that_came_after_the_worker_is_served_too(found: Any) -> None:
    assert found["other"] == found["other expected"]


def test_a_mistake_keeps_its_words_on_the_way_between_the_processes(found: Any) -> None:
    kind, text = found["refused"]
    assert kind == "ValueError"
    assert "token id 1000000 is not in the vocabulary" in text
    assert found["too long"][0] == "ValueError"
    assert "shorten it" in found["too long"][1]


def test_a_share_that_is_used_up_is_said_in_the_services_words_and_may_pass(found: Any) -> None:
    kind, text = found["waits"]
    assert kind == "Waits"
    assert text.startswith("ZeroGPU quota exceeded: ")
    assert found["is to wait"]


def test_a_call_that_loses_its_gpu_says_what_to_do_and_the_next_one_runs(found: Any) -> None:
    kind, text = found["taken back"]
    assert kind == "ValueError"
    assert "ask for a shorter answer" in text
    assert found["after that"] == found["expected"]


def test_what_goes_wrong_inside_a_call_is_no_reason_to_wait() -> None:
    assert isinstance(failure("ZeroGPU queue timeout", "No GPU was available after 60s"), Waits)
    wrong = failure("ZeroGPU worker error", "KeyError")
    assert type(wrong) is RuntimeError
    assert "KeyError" in str(wrong)


def test_the_time_asked_for_comes_from_the_request(found: Any) -> None:
    asked = [int(call["durationSeconds"]) for path, call in found["calls"] if path == "/schedule"]
    assert len(asked) >= 5
    assert all(5 <= each <= 1.5 * LONGEST for each in asked)
    assert len(set(asked)) > 1


def test_members_read_at_start_up_lie_on_the_gpu_that_is_not_there_yet(families_file: str) -> None:
    found = on_zero_gpu("emulated", families_file)
    assert found["device"] == "cuda"
    assert found["forward"] == "library"
    assert found["loaded"] == ["base[small]", "base[large]", "tuned[helpful][small]", "tuned[helpful][large]"]
    # One copy of each, and the small tensors that a model holds beside its weights.
    assert found["weights"] <= found["moved"] < 1.2 * found["weights"]
    assert found["packed"] == found["moved"]
    assert "on cuda" in found["plan"]
    assert found["fits"]


def test_a_page_begins_with_its_members_read_and_calls_are_on_the_visitors_share(families_file: str) -> None:
    found = on_zero_gpu("visited", families_file)
    assert found["sentence"] == "EFT Lab begins with Tiny llama, as EFT_FAMILY says."
    assert found["sessions"] == ["ZeroSession", "ZeroSession"], "of every family, not of the first alone"
    assert found["loaded"] == 4
    assert found["began"] == ["/startup-report"], "the Space has told what it wants to be lent"
    assert found["texts"] == [found["expected"]] * 2
    assert found["shares"] == ["e30.e30.signed", None], "the visitor's token came along to the thread of the batches"


def test_elsewhere_nothing_is_decorated_and_the_package_is_not_imported() -> None:
    assert decorator({}) is None
    assert decorator({"SPACE_ID": "somebody/eft-lab", "SPACES_ZERO_GPU": "false"}) is None
    code = "import sys, components.zero_gpu; assert 'torch' in sys.modules; print('spaces.zero.torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_a_request_every_event_and_a_family_come_through_a_pickle(session: Any) -> None:
    policies = [policy for _, policy in default_columns(session.family)]
    request = Request.compare("Hello?", policies, Sampling(0.5), Limits(6), speculation=Speculation(2, timed=True))
    events = [*session.stream(request), *session.inspect([Text("Hello?", "Yes.", policies[0])])]
    kinds = {type(event).__name__ for event in events}
    assert {"Started", "TokensDrawn", "TokensRecorded", "RowFinished", "Done", "Inspected"} <= kinds
    others = [
        Queued(1),
        Loading("a", 1, 2, ("b",)),
        Timing(),
        Working(),
        Reading(1, 2),
        Downloading("c", 1, 2),
        Refused("d"),
    ]
    for each in (request, session.family, *others, *(event for event in events if not hasattr(event, "trace"))):
        again = pickle.loads(pickle.dumps(each))
        assert repr(again) == repr(each)
    for event in events:
        if hasattr(event, "trace"):
            trace, again = event.trace, pickle.loads(pickle.dumps(event)).trace
            assert (again.policy, again.members) == (trace.policy, trace.members)
            assert (again.logprobs == trace.logprobs).all()


def test_seconds_grow_with_tokens_rows_weights_and_what_is_still_to_be_read() -> None:
    pair = [(15 * GB, 28), (1 * GB, 24)]
    usual = seconds(pair, 80, 4)
    assert 10 < usual < 60
    assert seconds(pair, 200, 4) > usual
    assert seconds(pair, 80, 64) > usual
    assert seconds([*pair, *pair], 80, 4) > usual
    assert seconds(pair, 80, 4, waiting=16 * GB) > usual
    assert seconds(pair, 100_000, 4) == LONGEST
    assert seconds([], 1, 1) >= 5


def test_a_member_whose_files_come_later_is_served_in_the_vocabulary_that_is_shared_then(
    families_file: str, tokenizer: Any, tmp_path: Path
) -> None:
    shutil.copytree(Path(families_file).parent, tmp_path / "here")
    late = tmp_path / "here" / "llama-large-helpful"
    shutil.rmtree(late)
    settings = Settings(families_file=str(tmp_path / "here" / "families.toml"), device="cpu", threads=1)
    zero = ZeroGPU(lambda task, duration: task)
    session = zero.session(settings, "llama", Shared())
    assert session.ask(Request.compare("Hi", [plain("small")], limits=Limits(3)))
    save_model(late, tiny_config("llama", len(tokenizer) - 5), tokenizer, seed=9)  # it has fewer ids than the others
    session.models.read_anew()
    request = Request.compare("Hi", [plain("large"), tuned("helpful", "large")], limits=Limits(3))
    texts = [answer.text for answer in Session(settings, "llama").ask(request)]
    assert [answer.text for answer in session.ask(request)] == texts


def test_loading_and_letting_go_say_why_they_are_not_for_zero_gpu(families_file: str) -> None:
    zero = ZeroGPU(lambda task, duration: task)
    session = zero.session(Settings(families_file=families_file, device="cpu"), "llama", Shared())
    with pytest.raises(ValueError, match="read when the Space starts"):
        session.load([Member("small")])
    with pytest.raises(ValueError, match="nothing to let go"):
        session.unload()
