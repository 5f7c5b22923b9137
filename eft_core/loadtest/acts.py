"""What a soak's visitor does, one act after the other by chance: compare, inspect, sweep, judge, stop, leave.

Every act checks what it got: texts against those asked alone, the text of a stopped run as the beginning of it. What a
sweep answered is checked when the soak is over (`swept`). A refusal is no failure.
"""

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx

from eft_core.loadtest import wire
from eft_core.loadtest.mix import Ask
from eft_core.loadtest.page import Page, board_texts, lines, opened, raise_for
from eft_core.loadtest.visitor import Texts, Visitor

# How often each happens, of a hundred.
ACTS = {
    "compare": 26,
    "compare_page": 18,
    "inspect": 10,
    "sweep": 6,
    "rate": 20,
    "stop": 5,
    "cancel": 5,
    "close": 7,
    "restart": 3,
}
_VERDICTS = ("left", "right", "both_good", "both_bad", "unsure")
_MOST_ACT = 180.0  # seconds
_SWEPT = {"temperature": 0.8, "length": 24}


@dataclass
class Notes:
    """What all visitors of a soak saw. `confirmed`: comparison by client key; `swept`: text by what was asked."""

    right: Mapping[Ask, Texts]
    acts: Counter[str] = field(default_factory=Counter)
    confirmed: dict[str, str] = field(default_factory=dict)
    swept: dict[Ask, str] = field(default_factory=dict)
    read: dict[str, list[int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def check(self, what: str, found: object, right: object) -> None:
        """Note a text that is another than alone."""
        if found != right:
            self.wrong.append(f"{what}: {str(found)[:200]!r}, alone {str(right)[:200]!r}")


@dataclass
class Regular:
    """A visitor who stays: a page at a time, a rater's code, and a chance of its own."""

    http: httpx.AsyncClient
    notes: Notes
    campaign: str
    number: int
    emulated: Ask  # one column, the policy that Sweep takes when nobody chooses
    code: str = ""
    sweeps: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.number)
        self.plain = [ask for ask in self.notes.right if ask.policies is None and not ask.temperature]

    async def live(self, stop: asyncio.Event) -> None:
        """Act until `stop` is set; what one act fails with is noted, and the next one comes."""
        while not stop.is_set():
            try:
                async with opened(self.http) as page:
                    while not stop.is_set() and await self.act(page) != "restart":
                        pass
            except wire.Failed as error:
                self.notes.problems.append(f"open: {error}")
                await asyncio.sleep(1.0)

    async def act(self, page: Page) -> str:
        """One act by chance; its name."""
        [name] = self.chance.choices(list(ACTS), list(ACTS.values()))
        try:
            async with asyncio.timeout(_MOST_ACT):
                await getattr(self, f"_{name}")(page)
            self.notes.acts[name] += 1
        except wire.Refused as refused:
            self.notes.refusals.append(f"{name}: {refused}")
            await asyncio.sleep(refused.seconds)
        except wire.Failed as error:
            self.notes.problems.append(f"{name}: {error}")
        except TimeoutError:
            self.notes.problems.append(f"{name}: no end after {_MOST_ACT:.0f} s")
        return name

    async def _compare(self, page: Page) -> None:
        """A program's comparison."""
        ask = self.chance.choice(list(self.notes.right))
        reply = await Visitor(self.http, page.session).ask(ask)
        if reply.problem:
            raise wire.Failed(reply.problem)
        self.notes.check(f"compare {ask.prompt}", reply.texts, self.notes.right[ask])

    async def _compare_page(self, page: Page) -> None:
        """A comparison of the first columns, as the page runs it: drafted, recorded, and the same text."""
        ask = self.chance.choice(self.plain)
        handler = page.handler("click", "run")
        async with page.run(handler, asked(handler.inputs, ask)) as (_, updates):
            log = [update async for update in updates][-1][0]
        raise_for(log)
        self.notes.check(f"page {ask.prompt}", board_texts(log), self._texts(ask))

    async def _inspect(self, page: Page) -> None:
        """An answer read token by token: always the same tokens."""
        ask = self.chance.choice(self.plain)
        text = self.chance.choice([text for text in self._texts(ask) if text.strip()])
        async with wire.called(self.http, "inspect", [ask.prompt, text, None, "", None], page.session) as updates:
            told = [data async for last, data in updates if last][-1]
        ids = json.loads(told)[0]["tokens"]["ids"]
        self.notes.check(f"inspect {ask.prompt}", ids, self.notes.read.setdefault(f"{ask.prompt}\n{text}", ids))

    async def _sweep(self, page: Page) -> None:
        """Three seeds of the emulated policy under one prompt, none of which was swept before."""
        prompt, self.sweeps = self.chance.choice(self.plain).prompt, self.sweeps + 1
        seeds = [10_000 * (self.number + 1) + 10 * self.sweeps + each for each in range(3)]
        handler = page.handler("click", output="curves")
        data = list(handler.inputs)
        # source, prompt, questions, file, policy, two axes with values, answers, temperature, seed, length, dark
        data[0], data[1], data[5], data[6] = "prompt", prompt, "seed", ", ".join(map(str, seeds))
        data[7], data[8], data[9], data[10], data[12] = "", "", 1, _SWEPT["temperature"], _SWEPT["length"]
        async with page.run(handler, data) as (_, updates):
            log = [update async for update in updates][-1][0]
        raise_for(log)
        answers = {each["n"]: "".join(each["p"]) for each in lines(log, "answer")}
        if sorted(answers) != [0, 1, 2]:
            raise wire.Failed(f"a sweep of 3 answers has {len(answers)}")
        for place, seed in enumerate(seeds):
            self.notes.swept[swept(self.emulated, prompt, seed)] = answers[place]

    async def _rate(self, page: Page) -> None:
        """Some judgements, one of them sent twice, as after a lost reply, and one taken back."""
        if not self.code:
            self.code = (await self._say(page, "join"))["code"]
        for number in range(4):
            task = (await self._say(page, "place"))["place"].get("task")
            if task is None:
                self.code = ""  # all is judged: somebody else comes next time
                return
            key, verdict = str(uuid.uuid4()), self.chance.choice(_VERDICTS)
            said = {"comparison": task["comparison"], "client_key": key, "verdict": verdict, "seconds": 2.5}
            for _ in range(2 if number == 1 else 1):
                await self._say(page, "cast", judgement=said)
                self.notes.confirmed[key] = task["comparison"]
        undo = str(uuid.uuid4())
        await self._say(page, "undo", client_key=undo)
        self.notes.confirmed[undo] = task["comparison"]

    async def _say(self, page: Page, act: str, **message: Any) -> dict[str, Any]:
        """One message of the Rate tab's script, and again until the server could see to it."""
        event = {"id": uuid.uuid4().hex, "act": act, "campaign": self.campaign, "code": self.code, **message}
        while True:
            [told] = await page.ask(page.handler("submit", "rate"), [], event)
            [reply] = lines(told["props"]["reply"], "reply")
            if "error" not in reply:
                return reply
            if not reply.get("retry"):
                raise wire.refusal(reply["error"])
            self.notes.refusals.append(f"rate: {reply['error']}")
            await asyncio.sleep(1.0)

    async def _stop(self, page: Page) -> None:
        """A run that its visitor stops with the button: what is there is the beginning of the right text."""
        ask = self.chance.choice(self.plain)
        handler, pressed = page.handler("click", "run"), False
        async with page.run(handler, asked(handler.inputs, ask)) as (_, updates):
            async for [log] in updates:
                if not pressed and any(board_texts(log)):
                    pressed = True
                    await page.ask(page.handler("click", "stop"))
        raise_for(log)
        self._check_beginning(f"stop {ask.prompt}", ask, log)

    async def _cancel(self, page: Page) -> None:
        """A run that gradio itself is told to cancel."""
        ask = self.chance.choice(self.plain)
        handler = page.handler("click", "run")
        log, cancelled = "", False
        async with page.run(handler, asked(handler.inputs, ask)) as (number, updates):
            async for update in updates:
                log = update[0] if update else log
                if not cancelled:
                    cancelled = True
                    await page.cancel(handler, number)
        raise_for(log)
        self._check_beginning(f"cancel {ask.prompt}", ask, log)

    async def _close(self, page: Page) -> None:
        """A tab that is closed, or a program that is killed, in the middle of an answer."""
        ask = self.chance.choice(self.plain)
        updates: Any
        async with AsyncExitStack() as stack:
            if self.chance.random() < 0.5:
                gone = await stack.enter_async_context(opened(self.http))
                handler = gone.handler("click", "run")
                _, updates = await stack.enter_async_context(gone.run(handler, asked(handler.inputs, ask)))
            else:
                named = wire.called(self.http, "compare", ask.data, uuid.uuid4().hex[:11])
                updates = await stack.enter_async_context(named)
            await anext(updates)

    async def _restart(self, page: Page) -> None:
        """The page is loaded anew (`live`)."""

    def _texts(self, ask: Ask) -> list[str]:
        return [text for text, _ in self.notes.right[ask]]

    def _check_beginning(self, what: str, ask: Ask, log: str) -> None:
        for found, whole in zip(board_texts(log), self._texts(ask), strict=False):
            if not whole.startswith(found.rstrip("\ufffd")):
                self.notes.check(what, found, whole)


def asked(inputs: tuple[Any, ...], ask: Ask) -> list[Any]:
    """The inputs of the page's Run for a comparison of the first columns: prompt, system, earlier turns, columns, then
    temperature, top-p, top-k, seed and length; the rest as the page has it."""
    return [ask.prompt, *inputs[1:4], ask.temperature, *inputs[5:7], ask.seed, ask.length, *inputs[9:]]


def swept(emulated: Ask, prompt: str, seed: int) -> Ask:
    """What a sweep's setting is as a comparison."""
    return Ask(prompt, emulated.policies, _SWEPT["temperature"], seed=seed, length=int(_SWEPT["length"]))
