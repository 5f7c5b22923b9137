"""Which of two answers an LLM judge prefers: each pair is asked in both orders, and a disagreement is a tie.

The paper judged with GPT-4 (Mitchell et al. 2023, section 4); the prompts in `assets/judges` are our own. Every
well-formed reply is kept on disk as soon as it is there: a run that breaks off or is killed goes on where it was, and
nothing is paid twice. Loads no torch.
"""

import hashlib
import json
import os
import re
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import httpx

from eft_core.judge_client import Judge, JudgeError, Reply, complete, connected

REPLY_TOKENS = 120  # about what a judge writes: four sentences and a verdict

Measure = Literal["helpful", "factual", "harmless"]
Side = Literal["first", "second", "tie"]
Orders = tuple[str, str]  # a comparison's questions: its first answer shown as A, and shown as B
Wait = Callable[[float], bool | None]

_TEMPLATES = Path(__file__).parent.parent / "assets" / "judges"
_FILES = {"helpful": "helpfulness.md", "factual": "factuality.md", "harmless": "harmlessness.md"}
_PLACE = re.compile(r"\{(mark|prompt|answer_a|answer_b)\}")
_VERDICT = re.compile(r"[*_ ]*verdict[*_ ]*:[*_ ]*(a|b|tie)[*_. ]*", re.IGNORECASE)  # judges like bold type


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to a prompt. An answer may be empty: a model may have written nothing."""

    prompt: str
    first: str
    second: str

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise ValueError("a comparison has no prompt: give the question that both texts answer.")
        if any("\ud800" <= letter <= "\udfff" for letter in self.prompt + self.first + self.second):
            raise ValueError("a comparison holds half a character (a lone surrogate): remove it.")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which answer was preferred with the first shown as A, and with the first shown as B."""

    orders: tuple[Side, Side]

    @property
    def agreed(self) -> bool:
        return self.orders[0] == self.orders[1]

    @property
    def score(self) -> float:
        """1 if the first answer is better in both orders, 0 if the second is, else 0.5."""
        return {"first": 1.0, "second": 0.0, "tie": 0.5}[self.orders[0]] if self.agreed else 0.5


# --- questions and replies


def question(template: str, prompt: str, a: str, b: str) -> str:
    """The template with its places filled in one pass, so that nothing inside the texts is taken for a place.

    The tags around the texts carry a mark made from all of them: no text can hold it, so none can end its own tags.
    """
    mark = hashlib.sha256(json.dumps([prompt, a, b]).encode()).hexdigest()[:16]
    values = {"mark": mark, "prompt": prompt, "answer_a": a, "answer_b": b}
    return _PLACE.sub(lambda place: values[place[1]], template)


def preferred(reply: str) -> str | None:
    """ "a", "b" or "tie": the verdict on a reply's last line, such as `Verdict: A`. None if it has none.

    No other line counts: reasons may quote an answer, and an answer may hold a verdict.
    """
    found = _VERDICT.fullmatch(reply.strip().rpartition("\n")[2].strip())
    return found[1].lower() if found else None


def _questions(comparisons: Sequence[Comparison], measure: Measure) -> list[Orders | None]:
    """What to ask of each comparison; None where the answers are equal, which is a tie without asking."""
    if measure not in _FILES:
        raise ValueError(f"there is no judge of {measure!r}: use {', '.join(_FILES)}.")
    template = (_TEMPLATES / _FILES[measure]).read_text(encoding="utf-8")

    def orders(each: Comparison) -> Orders | None:
        if each.first.strip() == each.second.strip():
            return None
        shown = (each.first, each.second), (each.second, each.first)
        as_a, as_b = (question(template, each.prompt, a, b) for a, b in shown)
        return as_a, as_b

    return [orders(each) for each in comparisons]


def _verdict(orders: Orders, replies: Mapping[str, Reply]) -> Verdict:
    """The replies to both orders, brought back to the first and the second answer."""
    as_a, as_b = (preferred(replies[each].text) for each in orders)
    first_as_a: dict[str | None, Side] = {"a": "first", "b": "second", "tie": "tie"}
    first_as_b: dict[str | None, Side] = {"a": "second", "b": "first", "tie": "tie"}
    return Verdict((first_as_a[as_a], first_as_b[as_b]))


@dataclass(frozen=True, slots=True)
class Cache:
    """Replies with a verdict, a file each in `folder`; for any number of threads and processes. Holds no key."""

    folder: Path

    def get(self, judge: Judge, asked: str) -> Reply | None:
        """The reply that is kept; None if there is none, or its file is spoilt."""
        try:
            reply = Reply(**json.loads(self._file(judge, asked).read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return reply if isinstance(reply.text, str) and preferred(reply.text) else None

    def put(self, judge: Judge, asked: str, reply: Reply) -> None:
        """Keep a reply, all of it or, if we are killed, nothing. JudgeError if the folder cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(suffix=".part", dir=self.folder)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(reply), file)
            os.replace(part, self._file(judge, asked))
        except OSError as error:
            raise JudgeError(
                f"judgements cannot be kept in {self.folder} ({error.strerror}): make room, or choose another folder."
            ) from error

    def _file(self, judge: Judge, asked: str) -> Path:
        name = json.dumps([judge.model, judge.url, _messages(asked)])
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()}.json"


def _messages(asked: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}]


# --- before and while asking


@dataclass(frozen=True, slots=True)
class Cost:
    """About what judging takes: `calls` in all, `cached` of them kept from before; tokens and US$ of the others."""

    calls: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None

    def __str__(self) -> str:
        money = "at prices that are not known" if self.dollars is None else f"about ${self.dollars:,.2f}"
        calls = f"{self.calls:,} call{'' if self.calls == 1 else 's'}, {self.cached:,} of them kept from before"
        return (
            f"{calls}; about {self.prompt_tokens:,} prompt and {self.completion_tokens:,} completion tokens, {money}."
        )


def estimate(comparisons: Sequence[Comparison], measure: Measure, judge: Judge, cache: Cache) -> Cost:
    """What `judged` would ask. A token is taken for four characters, so numbers are rough; asking again costs more."""
    asked = {each for orders in _questions(comparisons, measure) if orders for each in orders}
    new = [each for each in asked if cache.get(judge, each) is None]
    prompt, completion = sum(-(-len(each) // 4) for each in new), REPLY_TOKENS * len(new)
    prices = judge.prices
    dollars = None if prices is None else (prompt * prices[0] + completion * prices[1]) / 1e6
    return Cost(len(asked), len(asked) - len(new), prompt, completion, dollars)


def judged(
    comparisons: Sequence[Comparison], measure: Measure, judge: Judge, cache: Cache, wait: Wait | None = None
) -> Generator[tuple[int, Verdict], None, None]:
    """Numbers of comparisons and their verdicts, as they come; close the generator to stop asking.

    JudgeError if the judge fails: answers under way are awaited and kept before. `wait` is for tests: how to pause
    between attempts, true to give up. ValueError, now and not later, for an unknown measure.
    """
    return _judged(_questions(comparisons, measure), judge, cache, wait)


def _judged(
    questions: Sequence[Orders | None], judge: Judge, cache: Cache, wait: Wait | None
) -> Generator[tuple[int, Verdict], None, None]:
    askers: defaultdict[str, list[tuple[int, Orders]]] = defaultdict(list)  # equal questions are asked once
    for number, orders in enumerate(questions):
        if orders is None:
            yield number, Verdict(("tie", "tie"))
            continue
        for each in orders:
            askers[each].append((number, orders))
    replies: dict[str, Reply] = {}
    with closing(_replies(list(askers), judge, cache, wait)) as stream:
        for asked, reply in stream:
            replies[asked] = reply
            for number, orders in askers[asked]:
                if replies.keys() >= set(orders):
                    yield number, _verdict(orders, replies)


def _replies(
    asked: Sequence[str], judge: Judge, cache: Cache, wait: Wait | None
) -> Generator[tuple[str, Reply], None, None]:
    stopped = threading.Event()

    def reply(each: str) -> Reply | None:
        """None if asking was stopped, by whoever reads or by an error, which then is another question's."""
        if stopped.is_set():
            return None
        try:
            return _reply(each, judge, cache, client, wait or stopped.wait)
        except BaseException:
            stopped.set()
            raise

    with connected(judge) as client, ThreadPoolExecutor(judge.parallel) as pool:
        try:
            futures = {pool.submit(reply, each): each for each in asked}
            for future in as_completed(futures):
                if (found := future.result()) is not None:
                    yield futures[future], found
        finally:
            stopped.set()  # the pool's end awaits the answers under way, and they are kept


def _reply(asked: str, judge: Judge, cache: Cache, client: httpx.Client, wait: Wait) -> Reply:
    kept = cache.get(judge, asked)
    if kept is not None:
        return kept
    reply = complete(judge, _messages(asked), client, lambda text: preferred(text) is not None, wait)
    cache.put(judge, asked, reply)
    return reply
