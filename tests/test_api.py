"""The endpoints /compare and /inspect through gradio_client, as a program calls them."""

from collections.abc import Iterator
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from serving import served, write_example

from eft_core.config import Limits, Request, Sampling, Text
from eft_core.document import summary, token_values
from eft_core.family import default_columns
from eft_core.policy import up_scale

PROMPT = "What is the capital of Kenya?"


@pytest.fixture(scope="module")
def address(sessions: Any, families_file: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    example = write_example(tmp_path_factory.mktemp("api") / "example.json", sessions("llama"))
    with served(families_file, example) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    client = Client(address, verbose=False)
    yield client
    client.close()


def test_compare_and_inspect_are_the_public_endpoints(client: Client) -> None:
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/compare", "/inspect"]


def test_inspect_gives_the_session_s_own_document(client: Client, session: Any) -> None:
    policy = up_scale("large", "small")
    *before, found = client.submit(PROMPT, "It is Nairobi.", policy.to_dict(), api_name="/inspect")
    assert all(update["done"] is False for update in before)
    assert found["done"] is True
    [trace] = list(session.inspect([Text(PROMPT, "It is Nairobi.", policy)]))[-1].traces
    assert found["tokens"] == token_values(trace)
    assert found["summary"] == summary(trace)
    again = client.predict(PROMPT, found["tokens"]["ids"], policy.to_dict(), api_name="/inspect")
    assert again["tokens"] == found["tokens"]


def test_a_conversation_is_asked_and_read_in_its_whole(client: Client, session: Any) -> None:
    policy = up_scale("large", "small")
    within: dict[str, Any] = {"system": "Be brief.", "turns": [["Kenya?", "Nairobi."]]}
    given = {"prompt": "And Peru?", "policies": [policy.to_dict()], "max_new_tokens": 8, "api_name": "/compare"}
    answer = client.predict(**given, **within)
    conversation: dict[str, Any] = {"system": "Be brief.", "turns": (("Kenya?", "Nairobi."),)}
    [expected] = session.ask(Request.compare("And Peru?", [policy], limits=Limits(8), **conversation))
    assert answer["columns"][0]["text"] == expected.text
    assert {name: answer[name] for name in within} == within
    assert not set(within) & set(client.predict(**given))
    found = client.predict("And Peru?", "It is Lima.", policy.to_dict(), **within, api_name="/inspect")
    [trace] = list(session.inspect([Text("And Peru?", "It is Lima.", policy, **conversation)]))[-1].traces
    assert found["tokens"] == token_values(trace)
    assert found["turns"] == within["turns"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"turns": [["a"]]}, "pair of texts"),
        ({"response": ""}, "is empty"),
        ({"response": "long " * 400}, "shorten the response"),
        ({"response": [10**6]}, "not in the vocabulary"),
        ({"response": ["x"]}, "use the ids"),
        ({"prompt": " "}, "prompt is empty"),
        ({"policy": {"pretrain": "huge"}}, "huge"),
        ({"policy": {"pretrain": "large", "finetune": "small", "behaviours": {"helpful": -1}}}, "reverses"),
    ],
)
def test_inspect_refuses_with_the_remedy(client: Client, given: dict[str, Any], message: str) -> None:
    with pytest.raises(AppError, match=message):
        client.predict(**{"prompt": PROMPT, "response": "Yes."} | given, api_name="/inspect")


def test_compare_hands_out_records_when_asked(client: Client, session: Any) -> None:
    policy = up_scale("large", "small")
    given = {"prompt": PROMPT, "policies": [policy.to_dict()], "max_new_tokens": 8, "api_name": "/compare"}
    [column] = client.predict(**given, record=True)["columns"]
    [answer] = session.ask(Request.compare(PROMPT, [policy], limits=Limits(8)))
    assert column["trace"]["tokens"] == token_values(answer.trace)
    assert "trace" not in client.predict(**given)["columns"][0]


def test_the_default_columns_stream_and_are_the_session_s_own_answers(client: Client, session: Any) -> None:
    job = client.submit(prompt=PROMPT, max_new_tokens=90, api_name="/compare")
    updates = list(job)
    columns = default_columns(session.family)
    last = updates[-1]
    assert [update["done"] for update in updates].count(True) == 1
    assert last["done"]
    assert last["prompt"] == PROMPT
    assert [column["label"] for column in last["columns"]] == [label for label, _ in columns]
    growing = [update["columns"][0]["tokens"] for update in updates]
    assert growing == sorted(growing)
    assert len(set(growing)) > 2
    request = Request.compare(PROMPT, tuple(policy for _, policy in columns), limits=Limits(90))
    for column, answer in zip(last["columns"], session.ask(request), strict=True):
        assert column["text"] == answer.text
        assert column["tokens"] == len(answer.token_ids)
        assert column["policy"] == answer.policy.to_dict()
        assert column["formula"] == answer.policy.formula()
        assert column["reason"] in ("ended", "length reached", "end", "length")


def test_own_policies_and_sampling_are_used(client: Client, session: Any) -> None:
    policy = up_scale("large", "small")
    answer = client.predict(
        prompt=PROMPT, policies=[policy.to_dict()], temperature=0.9, seed=7, max_new_tokens=12, api_name="/compare"
    )
    [expected] = session.ask(Request.compare(PROMPT, (policy,), Sampling(0.9, seed=7), Limits(12)))
    assert [column["text"] for column in answer["columns"]] == [expected.text]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": "x" * 100_000}, "shorten it"),
        ({"prompt": "word " * 400}, "the models read 160"),
        ({"policies": []}, "list of 1 to 8"),
        ({"policies": [{"pretrain": "huge"}]}, "no size 'huge'"),
        ({"policies": [{"pretrain": "large", "finetune": "small", "behaviours": {"helpful": -1}}]}, "negative"),
        ({"policies": [{"pretrain": "large", "allow_disalignment": True}]}, "unknown policy key"),
        ({"policies": ["large"]}, "a policy is an object"),
        ({"temperature": 99}, "temperature"),
        ({"max_new_tokens": 10**9}, "max_new_tokens"),
        ({"seed": -1}, "seed"),
        ({"speculate": "often"}, "off, adaptive, or the tokens drafted a cycle"),
        ({"speculate": 99}, "off, adaptive, or the tokens drafted a cycle"),
        ({"speculate": 4, "rule": "lossy"}, "use block, token, noise"),
        ({"speculate": 4, "drafter": "small"}, "write base[small]"),
        ({"speculate": 4, "drafter": "base[huge]"}, "no size 'huge'"),
        ({"timed": True}, "set speculate to adaptive or a number"),
        ({"turns": [["a", ""]]}, "a question and an answer"),
        ({"system": "x" * 100_000}, "shorten it"),
    ],
)
def test_a_wrong_call_is_answered_with_the_remedy(client: Client, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(AppError) as refused:
        client.predict(**({"prompt": PROMPT} | arguments), api_name="/compare")
    assert says.lower() in str(refused.value).lower()


def test_plain_columns_have_no_acceptance_and_no_gain(client: Client) -> None:
    answer = client.predict(prompt=PROMPT, max_new_tokens=4, api_name="/compare")
    assert answer["gain"] is None
    assert all((column["acceptance"], column["tokens_a_cycle"]) == (None, None) for column in answer["columns"])


def test_speculation_keeps_the_text_and_is_told_in_numbers(client: Client) -> None:
    hot = {"prompt": PROMPT, "temperature": 1, "seed": 3, "max_new_tokens": 24, "api_name": "/compare"}
    plainly = client.predict(**hot)
    updates = list(client.submit(**hot, speculate=4, rule="noise", timed=True))
    assert all("gain" not in update for update in updates[:-1])
    answer = updates[-1]
    assert [column["text"] for column in answer["columns"]] == [column["text"] for column in plainly["columns"]]
    emulated = answer["columns"][2]
    assert 0 <= emulated["acceptance"] <= 1 <= emulated["tokens_a_cycle"] <= 5
    gain = answer["gain"]
    assert set(gain) == {"measured", "predicted", "tokens_per_second", "plain_tokens_per_second"}
    assert gain["measured"] == pytest.approx(gain["tokens_per_second"] / gain["plain_tokens_per_second"])


def test_any_member_may_draft_and_the_length_may_adapt(client: Client) -> None:
    policy = up_scale("large", "small").to_dict()
    for ways in ({"speculate": "3", "drafter": "base[small]"}, {"speculate": "adaptive"}):
        answer = client.predict(prompt=PROMPT, policies=[policy], max_new_tokens=8, api_name="/compare", **ways)
        plainly = client.predict(prompt=PROMPT, policies=[policy], max_new_tokens=8, api_name="/compare")
        assert answer["columns"][0]["text"] == plainly["columns"][0]["text"]
        assert answer["gain"]["tokens_per_second"] > 0


@pytest.mark.parametrize("prompt", ["a\0b", "😀 \u202e\u0645\u0631\u062d\u0628\u0627", "<script>${x}{{y}}</script>"])
def test_odd_prompts_are_answered(client: Client, prompt: str) -> None:
    answer = client.predict(prompt=prompt, max_new_tokens=2, api_name="/compare")
    assert answer["done"]
    assert answer["prompt"] == prompt


def test_cancelled_calls_free_the_session(client: Client) -> None:
    """Four slow calls take about 25 s each if nobody ends them; the fifth would wait for all."""
    slow = [client.submit(prompt="[slow] " + PROMPT, max_new_tokens=512, api_name="/compare") for _ in range(4)]
    next(iter(slow[0]))
    for job in slow:
        job.cancel()
    answer = client.submit(prompt=PROMPT, max_new_tokens=2, api_name="/compare").result(timeout=60)
    assert answer["done"]


def test_a_fault_of_ours_is_told_without_its_details(client: Client) -> None:
    with pytest.raises(AppError) as refused:
        client.predict(prompt="[broken]", api_name="/compare")
    assert "RuntimeError" in str(refused.value)
    assert "details" not in str(refused.value)
