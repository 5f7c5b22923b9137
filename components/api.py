"""The named endpoints /compare and /inspect: what the page does, for programs, streaming.

for update in Client("http://127.0.0.1:7860").submit(prompt="What is the capital of Kenya?", api_name="/compare"):
    print(update["columns"][2]["text"])
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from components.answers import RowAnswer, advance
from components.batches import batches
from components.columns import MAX_COLUMNS, Column, Columns, check, title_of
from components.conversation import Context, check_context
from components.handlers import Handlers, sentence
from components.inputs import check_length, check_prompt, check_sampling, check_tokens
from components.inspecting import MAX_TOKENS, check_response
from components.meter import Meter
from eft_core.config import Request, Text
from eft_core.document import document, ids_of, summary
from eft_core.events import Done, Inspected, Reading
from eft_core.family import Family
from eft_core.policy import Policy
from eft_core.speculation_options import gain_values, speculation


def compare_endpoint(handlers: Handlers, waiting: int) -> None:
    """Register /compare in the Blocks under construction."""

    def compare(
        request: gr.Request,
        prompt: str,
        policies: list[dict[str, Any]] | None = None,
        temperature: float = 0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        max_new_tokens: int = 80,
        speculate: str | int | None = None,
        rule: str | None = None,
        drafter: str | None = None,
        timed: bool = False,
        record: bool = False,
        system: str = "",
        turns: list[list[str]] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Answer `prompt` under several policies at once, streaming the texts as they grow.

        `policies` are objects such as {"pretrain": "large", "finetune": "small", "behaviours": {"helpful": 1},
        "amplification": 1, "nucleus": null}; without them the page's default columns are used.
        `speculate` is "off", "adaptive" or a draft length; `rule` "block", "token" or "noise"; `drafter` a member such
        as "tuned[helpful][small]". `timed` decodes plainly first: the last update then has the measured gain.
        With `record` the columns of the last update have a `trace`, a document of schema eft-lab/trace/1.
        `system` is what the model is told before, `turns` are earlier ones, pairs of the user's and the assistant's
        text, where the family's chat template has them.
        """
        with _plainly(handlers.meter, "compare"):
            sampling, limits = check_sampling(temperature, top_p, top_k, seed), check_length(max_new_tokens)
            columns = asked_columns(policies, handlers.family)
            policies_ = tuple(column.policy for column in columns)
            ways = speculation(speculate, rule, drafter, timed, handlers.family)
            asked, context = check_prompt(prompt), check_context(system, turns)
            how = {"speculation": ways, "record": record is True, **context.core}
            who = handlers.limits.ask(request, asked, *context.texts)
            wanted = Request.compare(asked, policies_, sampling, limits, **how)
        with _plainly():
            yield from answers(handlers, who, wanted, columns, context)

    gr.api(compare, api_name="compare", concurrency_limit=waiting)


def inspect_endpoint(handlers: Handlers, waiting: int) -> None:
    """Register /inspect in the Blocks under construction."""

    def inspect(
        request: gr.Request,
        prompt: str,
        response: str | list[int],
        policy: dict[str, Any] | None = None,
        system: str = "",
        turns: list[list[str]] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Read a response that somebody else wrote, as text or as token ids, token by token under a policy.

        `policy` is an object as in /compare; without it, the page's first emulated column; `system` and `turns` too.
        Updates tell how many tokens were read; the last one, with done = true, is the document of schema
        eft-lab/trace/1 and a summary.
        """
        with _plainly(handlers.meter, "inspect"):
            family = handlers.family
            chosen = Columns.default(family).current.policy if policy is None else Policy.from_dict(policy)
            given = check_response(response) if isinstance(response, str) else check_tokens(response, MAX_TOKENS)
            context = check_context(system, turns)
            text = Text(check_prompt(prompt), given, check(chosen, family), **context.core)
            who = handlers.limits.ask(request, text.prompt, *context.texts)
        with _plainly():
            yield from inspected(handlers, who, text, context)

    gr.api(inspect, api_name="inspect", concurrency_limit=waiting)


@contextmanager
def _plainly(meter: Meter | None = None, kind: str = "") -> Iterator[None]:
    """What goes wrong in the block is a sentence for the caller; a `meter` counts it as refused."""
    try:
        yield
    except Exception as error:
        if meter is not None:
            meter.refused(kind)
        raise gr.Error(sentence(error), print_exception=False) from error


def inspected(handlers: Handlers, who: str, text: Text, context: Context) -> Iterator[dict[str, Any]]:
    """What the endpoint yields: progress, then the whole document."""
    session, limits = handlers.session, handlers.limits
    with handlers.meter.request("inspect", handlers.family.name, prompt=text.prompt) as told:
        for batch in batches(lambda: limits.inspect(who, session, [text]), told.stop, limits.interval):
            told.saw(batch)
            for event in batch:
                if isinstance(event, Inspected):
                    [trace] = event.traces
                    about = {"family": handlers.family.name, "prompt": text.prompt, **context.about, "done": True}
                    found = document(trace, session.token_texts.of(ids_of(trace)), **about)
                    yield found | {"summary": summary(trace)}
                    return
            last = next((event for event in reversed(batch) if isinstance(event, Reading)), None)
            # Also where nothing is new, as in the queue: gradio can end a call only where it yields.
            yield {"done": False, "read": last.done if last else 0, "total": last.total if last else None}


def asked_columns(policies: object, family: Family) -> tuple[Column, ...]:
    """The columns of a call; ValueError that says what a policy must be."""
    if policies is None:
        return Columns.default(family).items
    if not isinstance(policies, list) or not 1 <= len(policies) <= MAX_COLUMNS:
        raise ValueError(f"policies must be a list of 1 to {MAX_COLUMNS} objects, or null for the default columns.")
    return tuple(Column(key, check(Policy.from_dict(values), family)) for key, values in enumerate(policies, 1))


def answers(
    handlers: Handlers, who: str, request: Request, columns: tuple[Column, ...], context: Context
) -> Iterator[dict[str, Any]]:
    """What the endpoint yields: the whole state each time, the last one with done = True."""
    limits, rows, done = handlers.limits, (RowAnswer(),) * len(columns), None
    asked = handlers.family.name, len(request.rows), request.rows[0].prompt
    with handlers.meter.request("compare", *asked) as told:
        for batch in batches(lambda: limits.stream(who, handlers.session, request), told.stop, limits.interval):
            told.saw(batch)
            rows = advance(rows, batch)
            done = next((event for event in batch if isinstance(event, Done)), done)
            # Also where nothing is new, as in the queue: gradio can end a call only where it yields.
            if done is None:
                yield snapshot(request, columns, rows, handlers.family, done=False) | context.about
    last = snapshot(request, columns, rows, handlers.family, done=True) | context.about
    last["gain"] = gain_values(done.gain if done else None)
    if done is not None and request.record:
        for values, answer in zip(last["columns"], done.answers, strict=True):
            if answer.trace is not None:
                values["trace"] = document(answer.trace, handlers.session.token_texts.of(ids_of(answer.trace)))
    yield last


def snapshot(
    request: Request, columns: tuple[Column, ...], rows: tuple[RowAnswer, ...], family: Family, done: bool
) -> dict[str, Any]:
    """One update as plain values."""
    values = [
        {
            "label": title_of(column, family),
            "policy": column.policy.to_dict(),
            "formula": column.policy.formula(),
            "text": row.text,
            "tokens": row.tokens,
            "tokens_per_second": round(row.tokens_per_second, 2),
            "acceptance": row.acceptance,
            "tokens_a_cycle": row.drafting and row.drafting.tokens_a_cycle,
            "reason": row.reason or None,
            **({"message": row.message} if row.message else {}),
        }
        for column, row in zip(columns, rows, strict=True)
    ]
    return {"prompt": request.rows[0].prompt, "done": done, "columns": values}
