"""What the Compare page does: visitor's input in, updates for the board and the panel out.

No component is made here. "Private" events can be called by anyone (ECOSYSTEM.md 1.2), so each handler checks what
it gets; a mistake becomes one sentence on the board, never a crash.
"""

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from components.answers import RowAnswer, advance
from components.batches import batches
from components.board import Wish, asked, data_of, laid_out
from components.columns import Branch, Columns, first_tuning, from_controls, title_of
from components.conversation import Context, check_context, check_turn, context_of
from components.earlier import A_SYSTEM, A_TURN, asked_after, check_taken, takes, unasked
from components.example import ExamplePrompt
from components.inputs import (
    MAX_LENGTH,
    Decoding,
    check_length,
    check_prompt,
    check_sampling,
    check_speculation,
    check_tokens,
    number,
)
from components.latest import Latest
from components.limits import Limiter
from components.lines import layout, line, lines, opening, settings_mark
from components.links import Link, decode, encode
from components.meter import Meter, Told
from components.panel import DECODING_CONTROLS, decoding_showing, showing
from components.records import Records
from components.runs import Runs
from eft_core.config import Request, Row
from eft_core.events import Done, Queued
from eft_core.family import Family
from eft_core.session import Session
from eft_core.settings import Settings
from eft_core.tickets import Restarted

log = logging.getLogger(__name__)


def settings(decoding: tuple[Any, ...]) -> Decoding:
    """What the controls of "Decoding" say, in the panel's order."""
    temperature, top_p, top_k, seed, length, *speculation, record = decoding
    sampling = check_sampling(temperature, top_p, top_k, seed)
    return Decoding(sampling, check_length(length), check_speculation(*speculation), record is True)


def sentence(error: Exception) -> str:
    """An error as people read it. What is not the visitor's doing is logged, and told without its details."""
    if isinstance(error, ValueError | Restarted):
        text = str(error)
        return text[:1].upper() + text[1:]
    log.error("a comparison failed", exc_info=error)
    return f"The comparison failed ({type(error).__name__}): press Run to try again; the server's log says more."


@dataclass(frozen=True)
class Handlers:
    """One session's page. Visitors differ by their `Columns` (gr.State) and session hash; to `limits`, by address."""

    session: Session
    family: Family
    runs: Runs = field(default_factory=Runs)
    latest: Latest = field(default_factory=Latest)
    limits: Limiter = field(default_factory=lambda: Limiter.of(Settings()))
    meter: Meter = field(default_factory=Meter)

    def edit(self, columns: Columns, *controls: Any) -> list[Any]:
        """The selected column as the panel says. Policy controls are updated only where the size changed."""
        policy, decoding = controls[:-DECODING_CONTROLS], controls[-DECODING_CONTROLS:]
        try:
            name, pretrain, finetune, *weights, beta, nucleus = policy
            before = columns.current.policy
            if finetune and before.finetune is None:
                made = first_tuning(self.family, pretrain, finetune)
            else:
                sliders = tuple(number(weight, 0.0) for weight in weights), number(beta, 1.0), number(nucleus, 1.0)
                made = from_controls(self.family, pretrain, finetune or None, *sliders)
            changed = columns.edit(made, name)
        except (TypeError, ValueError) as error:
            return [columns, self._laid_out(columns, decoding, sentence(error)), *self._untouched()]
        resized = (made.finetune, made.pretrain) != (before.finetune, before.pretrain)
        shown = showing(changed.current, self.family) if resized else self._untouched()
        return [changed, self._laid_out(changed, decoding), *shown]

    def act(self, event: gr.EventData, columns: Columns, *decoding: Any) -> list[Any]:
        """What the board asks for: select, remove, add a column; branch off an answer; other weights for a column.

        The last two are run at once, alone."""
        try:
            wish = asked(event)
            changed = self._granted(wish, columns, decoding)
        except (TypeError, ValueError) as error:
            return [columns, self._laid_out(columns, decoding, sentence(error)), *self._untouched()]
        runs = wish.act in ("branch", "weigh")
        shown = (
            showing(changed.current, self.family) if runs or changed.selected != columns.selected else self._untouched()
        )
        return [changed, self._laid_out(changed, decoding, only=changed.selected if runs else None), *shown]

    def _granted(self, wish: Wish, columns: Columns, decoding: tuple[Any, ...]) -> Columns:
        """The columns as the board wants them; ValueError if they cannot be so."""
        data = wish.data
        match wish.act:
            case "select":
                return columns.select(wish.key)
            case "remove":
                return columns.remove(wish.key)
            case "branch":
                context = context_of(data.get("context"))
                branch = Branch(check_prompt(data.get("prompt")), check_tokens(data.get("tokens"), MAX_LENGTH), context)
                parent = columns.select(wish.key).current
                row = Row(branch.prompt, parent.policy, given=branch.tokens, **context.core)
                self.session.plan(Request((row,), settings(decoding).limits))  # refuses what cannot go on
                text = self.session.token_texts.text(branch.tokens[-1])
                return columns.fork(wish.key, branch, f"{title_of(parent, self.family)[:24]} ↳ {text.strip()}")
            case "weigh":
                behaviours = data.get("behaviours")
                if not isinstance(behaviours, dict):
                    raise ValueError("weights must be an object of behaviour and number: reload the page.")
                return columns.weigh(wish.key, behaviours, data.get("beta", 1.0), self.family)
        return columns.add()

    def reply(self, event: gr.EventData, columns: Columns, *decoding: Any) -> list[Any]:
        """An answer of the board becomes an earlier turn of what is asked next, of every column alike.

        Outputs: prompt, board, system prompt and earlier turns."""
        data = data_of(event)
        try:
            turn = check_turn([data.get(name) for name in ("prompt", "answer", "by")])
            context = context_of(data.get("context")).then(turn)
            check_taken(self.session, context)
        except ValueError as error:
            return [gr.skip(), self._laid_out(columns, decoding, sentence(error)), *unasked()]
        return ["", self._laid_out(columns, decoding), *asked_after(context)]

    def stage(self, example: ExamplePrompt, *decoding: Any) -> list[Any]:
        """An example that brings its own columns. Outputs: prompt, columns, board, the policy controls."""
        columns = Columns.of(example.columns)
        return [example.text, columns, self._laid_out(columns, decoding), *showing(columns.current, self.family)]

    def open_link(self, request: gr.Request, columns: Columns) -> list[Any]:
        """At load: the comparison of the address, run at once. Outputs: prompt, columns, board, system prompt and
        earlier turns, all controls."""
        nothing = [*[gr.skip()] * 3, *unasked(), *self._untouched(), *[gr.skip()] * DECODING_CONTROLS]
        mark = settings_mark(Decoding())
        try:
            link = decode(query_items(request), self.family)
        except ValueError as error:
            nothing[2] = laid_out(layout(columns, self.family, mark, f"{sentence(error)} Nothing was run."))
            return nothing
        if link is None:
            return nothing
        opened = Columns.of(link.columns) if link.columns else Columns.default(self.family)
        mark = settings_mark(link.decoding)
        board = laid_out(layout(opened, self.family, mark, go=uuid.uuid4().hex if link.prompt else ""))
        shown = [*showing(opened.current, self.family), *decoding_showing(link.decoding)]
        return [link.prompt, opened, board, *(asked_after(link.context) if link.context.note else unasked()), *shown]

    def offer_system(self) -> Any:
        """At load, beside all else, for a tokenizer may have to be read: the system prompt's fold, where the family's
        chat template has the role. Output: the fold, which is never hidden from whoever has opened it."""
        return gr.update(visible=True) if takes(self.session, A_SYSTEM) else gr.skip()

    def run(
        self,
        request: gr.Request,
        event: gr.EventData,
        prompt: str,
        system: str,
        earlier: Context,
        columns: Columns,
        *decoding: Any,
    ) -> Iterator[str]:
        """The comparison as a growing log for the board, a yield every 100 ms, less often in a crowd; the newest wins.

        `event` may name one column, to be run alone on the prompt of those that are there, and to join them."""
        name = uuid.uuid4().hex[:12]
        try:
            wanted = data_of(event)
            joins = wanted.get("only") is not None
            chosen = (columns.select(wanted["only"]).current,) if joins else columns.items
            prompt = check_prompt(wanted.get("prompt") if joins else prompt)
            context = context_of(wanted.get("context")) if joins else check_context(system, earlier.values()["turns"])
            how = settings(decoding)
            each = [(c.policy, c.given(prompt, context)) for c in chosen]
            rows = tuple(Row(prompt, policy, how.sampling, given=given, **context.core) for policy, given in each)
            asked_for = Request(rows, how.limits, how.speculation, how.record)
            who = self.limits.ask(request, prompt, *context.texts)
        except (TypeError, ValueError) as error:
            self.meter.refused("compare", self.family.name)
            yield line("id", id=name) + line("error", text=sentence(error))
            return
        # An address carries no branches: it would not fit, and they are of one prompt.
        here = tuple((c.label, c.policy) for c in columns.items if not c.given(prompt, context))
        query, mark = encode(Link(prompt, here, how, context)), settings_mark(how)
        replies = takes(self.session, A_TURN)
        text = opening(name, prompt, chosen, self.family, mark, query, False, joins, context, replies)
        visitor, labels = request.session_hash or name, [title_of(c, self.family) for c in chosen]
        with self.runs.under_way(visitor, "comparison", instead=not joins) as stop:
            try:
                with self.meter.request("compare", self.family.name, len(rows), prompt, stop) as told:
                    for added, ended in self._told(who, asked_for, tuple(c.key for c in chosen), told):
                        text += added
                        if ended is not None:
                            self.latest.keep(visitor, name, self.family, asked_for, labels, ended.answers)
                        yield text
                if stop.is_set():
                    text += line("stopped")
            except Exception as error:  # the page says it; the log has the rest
                text += line("error", text=sentence(error))
            yield text

    def stop(self, request: gr.Request) -> None:
        """Stop all that this page runs; it ends within 100 ms. The same when the page is closed."""
        self.runs.stop(request.session_hash or "")

    def _told(self, who: str, request: Request, keys: tuple[int, ...], told: Told) -> Iterator[tuple[str, Done | None]]:
        """The memory plan, then what the session says, as lines; with the last, all that was answered."""
        yield line("plan", text=str(self.session.plan(request))), None
        rows, place, records = (RowAnswer(),) * len(keys), None, Records(self.session.token_texts, keys)
        for batch in batches(lambda: self.limits.stream(who, self.session, request), told.stop, self.limits.interval):
            told.saw(batch)
            news = [event for event in batch if not isinstance(event, Queued) or event != place]
            place = next((event for event in reversed(news) if isinstance(event, Queued)), place)
            before, rows = rows, advance(rows, news)
            ended = next((event for event in news if isinstance(event, Done)), None)
            yield lines(news, keys, rows, before, records.lines(news)), ended
        yield records.rest(), None  # of a run that was stopped

    def _laid_out(self, columns: Columns, decoding: tuple[Any, ...], notice: str = "", only: int | None = None) -> Any:
        try:
            mark = settings_mark(settings(decoding))
        except (TypeError, ValueError) as error:
            mark, notice = "", notice or sentence(error)
        go = "" if only is None or notice else uuid.uuid4().hex
        return laid_out(layout(columns, self.family, mark, notice, go, only))

    def _untouched(self) -> list[Any]:
        """No update for any policy control: name, N, M, weights, beta, filter."""
        return [gr.skip()] * (5 + len(self.family.behaviours))


def query_items(request: gr.Request) -> list[tuple[str, str]]:
    """The address's parameters, repeated ones included."""
    params = request.query_params
    return list(params.multi_items()) if hasattr(params, "multi_items") else list(dict(params).items())
