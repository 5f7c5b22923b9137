"""What the Inspect tab does with a text: prompt and response in, updates for reader and figure out.

No component is made here. Whatever a browser sends is checked; a mistake becomes one sentence, never a crash.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.batches import batches
from components.board import data_of
from components.columns import Column, Columns, check, role_of, title_of
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
from eft_core.trace import Trace

MAX_TOKENS = 20_000  # of a text; every context window so far is shorter


@dataclass(frozen=True)
class Looked:
    """What the reader shows: a visitor's page keeps one, to save it or to draw it again."""

    prompt: str
    label: str
    role: str
    trace: Trace


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
        self, request: gr.Request, columns: Columns, key: int, prompt: str, response: str, dark: bool
    ) -> Iterator[list[Any]]:
        """Read a pasted text. Outputs: reader, figure, what is shown."""
        try:
            column = columns.select(key).current
            text = Text(check_prompt(prompt), check_response(response), column.policy)
        except (TypeError, ValueError) as error:
            yield [_refused(error), gr.skip(), gr.skip()]
            return
        yield from self._read(request, text, column, dark)

    def open(self, request: gr.Request, event: gr.EventData, columns: Columns, dark: bool) -> Iterator[list[Any]]:
        """An answer of Compare, token by token as it was drawn, through all members there are.

        Outputs: tabs, policy, prompt, response, reader, figure, what is shown."""
        data = data_of(event)
        yield from self._open(request, columns, dark, data.get("policy"), data.get("prompt"), data.get("tokens"))

    def rated(self) -> Any:
        """The rated answers to choose from, if there are any."""
        choices = [(f"{each.prompt[:70]} · {each.label[:40]}", each.id) for each in self.answers()]
        return gr.Dropdown(choices, value=None, visible=bool(choices))

    def open_rated(self, request: gr.Request, columns: Columns, chosen: Any, dark: bool) -> Iterator[list[Any]]:
        """A rated answer, as `open` does with one of Compare."""
        found = self.answers(chosen) if isinstance(chosen, str) and 0 < len(chosen) <= 64 else ()
        if not found:
            error = ValueError("this answer is not there, or its study's results are not open: choose another.")
            yield [*[gr.skip()] * 4, _refused(error), gr.skip(), gr.skip()]
            return
        answer = found[0]
        yield from self._open(request, columns, dark, answer.policy.to_dict(), answer.prompt, list(answer.token_ids))

    def _open(
        self, request: gr.Request, columns: Columns, dark: bool, policy: Any, prompt: Any, tokens: Any
    ) -> Iterator[list[Any]]:
        """Tabs, policy, prompt, response, reader, figure, what is shown."""
        try:
            policy = check(Policy.from_dict(policy), self.handlers.family)
            text = Text(check_prompt(prompt), check_tokens(tokens, MAX_TOKENS), policy)
            column = next((c for c in columns.items if c.policy == policy), Column(0, policy))
            written = self.session.models.tokenizer.decode(list(text.response), skip_special_tokens=True).strip()
        except (TypeError, ValueError, OverflowError) as error:
            yield [gr.Tabs(selected="inspect"), *[gr.skip()] * 3, _refused(error), gr.skip(), gr.skip()]
            return
        first = [gr.Tabs(selected="inspect"), self.policies(columns, column.key), text.prompt, written]
        for updates in self._read(request, text, column, dark):
            yield [*first, *updates]
            first = [gr.skip()] * 4

    def _read(self, request: gr.Request, text: Text, column: Column, dark: bool) -> Iterator[list[Any]]:
        """Reader, figure, what is shown."""
        looked = Look(text.prompt, title_of(column, self.handlers.family), role_of(column.policy, self.handlers.family))
        log = looked.opening(column.policy.formula())
        yield [log, gr.skip(), gr.skip()]
        traces: Sequence[Trace] = ()
        with self.handlers.runs.under_way(request.session_hash or uuid.uuid4().hex) as stop:
            try:
                for batch in batches(lambda: self.session.inspect([text]), stop):
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
        texts = self.session.token_texts.of(ids_of(looked.trace))
        values = document(looked.trace, texts, family=self.handlers.family.name, prompt=looked.prompt)
        if data_of(event).get("kind") == "html":
            column = values | {"label": looked.label, "role": looked.role}
            return saved("eft-lab-strip.html", "text/html", page([column], "EFT Lab", looked.prompt))
        text = json.dumps(values | {"summary": summary(looked.trace)}, ensure_ascii=False, separators=(",", ":"))
        return saved("eft-lab-trace.json", "application/json", text)


@dataclass(frozen=True)
class Look:
    """A text that is about to be looked at."""

    prompt: str
    label: str
    role: str

    def opening(self, formula: str) -> str:
        """The first lines of its log: a name of its own, and what it will show."""
        head = line("look", prompt=self.prompt, label=self.label, role=self.role, formula=formula)
        return line("id", id=uuid.uuid4().hex) + head

    def of(self, trace: Trace) -> Looked:
        return Looked(self.prompt, self.label, self.role, trace)


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
