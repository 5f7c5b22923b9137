"""What the Inspect tab does with a text: prompt and response in, updates for reader and figure out.

No component is made here. Whatever a browser sends is checked; a mistake becomes one sentence, never a crash.
"""

import json
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.batches import batches
from components.board import data_of
from components.columns import Column, Columns, check, role_of, title_of
from components.conversation import Context, context_of
from components.earlier import showing
from components.figures import overview
from components.handlers import Handlers, sentence
from components.inputs import MAX_PROMPT, check_prompt, check_tokens
from components.lines import line
from components.reader import saved
from components.records import whole_line
from eft_core.config import Text
from eft_core.document import document, ids_of, summary, summary_line
from eft_core.events import Inspected, Loading, Queued, Reading
from eft_core.policy import Policy
from eft_core.ratings.answers import RatedAnswer
from eft_core.standalone import page
from eft_core.storage import Unavailable
from eft_core.trace import Trace

log = logging.getLogger(__name__)
MAX_TOKENS = 20_000  # of a text; every context window so far is shorter


@dataclass(frozen=True)
class Looked:
    """What the reader shows: a visitor's page keeps one, to save it or to draw it again."""

    prompt: str
    label: str
    role: str
    trace: Trace
    context: Context = Context()  # noqa: RUF009  # frozen


def _none_rated(chosen: str = "") -> Sequence[RatedAnswer]:
    return ()


@dataclass(frozen=True)
class Inspector:
    """One session's Inspect tab. Stop reaches its readings as it reaches comparisons. `answers` gives the rated ones
    that may be looked into, or the chosen one of them alone."""

    handlers: Handlers
    answers: Callable[..., Sequence[RatedAnswer]] = _none_rated

    @property
    def session(self) -> Any:
        return self.handlers.session

    def policies(self, columns: Columns, chosen: int | None) -> Any:
        """The policies to choose from: the columns of Compare."""
        choices = [(f"{title_of(c, self.handlers.family)}: {c.policy.formula()}", c.key) for c in columns.items]
        keys = [column.key for column in columns.items]
        return gr.Dropdown(choices, label="Policy", value=chosen if chosen in keys else columns.selected)

    def score(
        self,
        request: gr.Request,
        columns: Columns,
        key: int,
        prompt: str,
        response: str,
        context: Context,
        dark: bool,
    ) -> Iterator[list[Any]]:
        """Read a pasted text, after the conversation that is shown. Outputs: reader, figure, what is shown."""
        try:
            column = columns.select(key).current
            text = Text(check_prompt(prompt), check_response(response), column.policy, **context.core)
        except (TypeError, ValueError) as error:
            self.handlers.meter.refused("inspect", self.handlers.family.name)
            yield [_refused(error), gr.skip(), gr.skip()]
            return
        yield from self._read(request, text, column, context, dark)

    def open(self, request: gr.Request, event: gr.EventData, columns: Columns, dark: bool) -> Iterator[list[Any]]:
        """An answer of Compare, token by token as it was drawn, through all members there are.

        Outputs: tabs, policy, prompt, response, the conversation before, reader, figure, what is shown."""
        data = data_of(event)
        asked = (data.get("policy"), data.get("prompt"), data.get("tokens"))
        yield from self._open(request, columns, dark, *asked, data.get("context"))

    def rated(self) -> Any:
        """The rated answers to choose from, if there are any, and the database can be read: texts are read without."""
        try:
            found = self.answers()
        except Unavailable as error:
            log.warning("rated answers are not offered: %s", error)
            found = ()
        choices = [(f"{each.prompt[:70]} · {each.label[:40]}", each.id) for each in found]
        return gr.Dropdown(choices, value=None, visible=bool(choices))

    def open_rated(self, request: gr.Request, columns: Columns, chosen: Any, dark: bool) -> Iterator[list[Any]]:
        """A rated answer, as `open` does with one of Compare."""
        error = ValueError("this answer is not there, or its study's results are not open: choose another.")
        try:
            found = self.answers(chosen) if isinstance(chosen, str) and 0 < len(chosen) <= 64 else ()
        except Unavailable as failure:
            error, found = ValueError(str(failure)), ()
        if not found:
            yield [*[gr.skip()] * 7, _refused(error), gr.skip(), gr.skip()]
            return
        answer = found[0]
        yield from self._open(request, columns, dark, answer.policy.to_dict(), answer.prompt, list(answer.token_ids))

    def _open(
        self,
        request: gr.Request,
        columns: Columns,
        dark: bool,
        policy: Any,
        prompt: Any,
        tokens: Any,
        before: Any = None,
    ) -> Iterator[list[Any]]:
        """Tabs, policy, prompt, response, the conversation before, reader, figure, what is shown."""
        try:
            context = context_of(before)
            policy = check(Policy.from_dict(policy), self.handlers.family)
            text = Text(check_prompt(prompt), check_tokens(tokens, MAX_TOKENS), policy, **context.core)
            column = next((c for c in columns.items if c.policy == policy), Column(0, policy))
            written = self.session.models.tokenizer.decode(list(text.response), skip_special_tokens=True).strip()
        except (TypeError, ValueError, OverflowError) as error:
            yield [gr.update(selected="inspect"), *[gr.skip()] * 6, _refused(error), gr.skip(), gr.skip()]
            return
        chosen = self.policies(columns, column.key)
        first = [gr.update(selected="inspect"), chosen, text.prompt, written, *showing(context)]
        for updates in self._read(request, text, column, context, dark):
            yield [*first, *updates]
            first = [gr.skip()] * 7

    def _read(
        self, request: gr.Request, text: Text, column: Column, context: Context, dark: bool
    ) -> Iterator[list[Any]]:
        """Reader, figure, what is shown."""
        family, limits = self.handlers.family, self.handlers.limits
        try:
            who = limits.ask(request, text.prompt, *context.texts)
        except ValueError as error:
            yield [_refused(error), gr.skip(), gr.skip()]
            return
        looked = Look(text.prompt, title_of(column, family), role_of(column.policy, family), context)
        log = looked.opening(column.policy.formula())
        yield [log, gr.skip(), gr.skip()]
        traces: Sequence[Trace] = ()
        with self.handlers.runs.under_way(request.session_hash or uuid.uuid4().hex) as stop:
            try:
                with self.handlers.meter.request("inspect", family.name, prompt=text.prompt, stop=stop) as told:
                    for batch in batches(lambda: limits.inspect(who, self.session, [text]), stop, limits.interval):
                        told.saw(batch)
                        log += _told(batch)
                        traces = next((event.traces for event in batch if isinstance(event, Inspected)), traces)
                        yield [log, gr.skip(), gr.skip()]
            except Exception as error:  # the page says it; the log has the rest
                yield [log + line("error", text=sentence(error)), gr.skip(), gr.skip()]
                return
        if not traces:
            yield [log + line("error", text="Stopped before the text was read."), gr.skip(), gr.skip()]
            return
        yield self.shown(looked.of(traces[0]), log, dark)

    def shown(self, looked: Looked, log: str, dark: bool, index: int | None = None) -> list[Any]:
        """The text as a strip and as a figure."""
        texts = self.session.token_texts
        log += whole_line(0, looked.trace, texts)
        said = f"{len(looked.trace):,} tokens read under {looked.trace.policy.formula()}"
        log += line("done", text=said, summary=summary_line(summary(looked.trace)), index=index)
        named = [texts.text(each) for each in looked.trace.tokens.tolist()]
        figure = overview(looked.trace, named, "dark" if dark is True else "light")
        return [log, gr.Plot(figure, visible=True), looked]

    def save(self, event: gr.EventData, looked: Looked | None) -> Any:
        """What the reader shows, as a file for the visitor. Output: reader."""
        if looked is None:
            return gr.skip()
        texts, context = self.session.token_texts.of(ids_of(looked.trace)), looked.context
        about = {"family": self.handlers.family.name, "prompt": looked.prompt, **context.about}
        values = document(looked.trace, texts, **about)
        if data_of(event).get("kind") == "html":
            column = values | {"label": looked.label, "role": looked.role}
            return saved(
                "eft-lab-strip.html", "text/html", page([column], "EFT Lab", context.transcript(looked.prompt))
            )
        text = json.dumps(values | {"summary": summary(looked.trace)}, ensure_ascii=False, separators=(",", ":"))
        return saved("eft-lab-trace.json", "application/json", text)


@dataclass(frozen=True)
class Look:
    """A text that is about to be looked at."""

    prompt: str
    label: str
    role: str
    context: Context = Context()  # noqa: RUF009  # frozen

    def opening(self, formula: str) -> str:
        """The first lines of its log: a name of its own, and what it will show."""
        asked = {"prompt": self.prompt, "note": self.context.note}
        head = line("look", **asked, label=self.label, role=self.role, formula=formula)
        return line("id", id=uuid.uuid4().hex) + head

    def of(self, trace: Trace) -> Looked:
        return Looked(self.prompt, self.label, self.role, trace, self.context)


def check_response(response: object) -> str:
    """A pasted response; what is too long for any model is refused before the tokenizer."""
    if not isinstance(response, str) or not response.strip():
        raise ValueError("The response is empty: paste a text, or press Inspect below an answer of Compare.")
    if len(response) > MAX_PROMPT:
        raise ValueError(f"The response has {len(response):,} characters and at most {MAX_PROMPT:,} fit: shorten it.")
    return response


def _told(batch: Sequence[Any]) -> str:
    """Events of an inspection as lines of the reader."""
    text = ""
    for event in batch:
        if isinstance(event, Queued):
            text += line("status", text=f"Queued: {event.ahead} before yours")
        elif isinstance(event, Loading):
            text += line("status", text=f"Loading {event.member} ({event.index} of {event.total})")
        elif isinstance(event, Reading):
            text += line("read", done=event.done, total=event.total)
    return text


def _refused(error: Exception) -> str:
    return line("id", id=uuid.uuid4().hex) + line("error", text=sentence(error))
