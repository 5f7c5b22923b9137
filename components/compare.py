"""The Compare tab: prompt, board and panel, connected to the handlers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from components.board import ASSETS, board
from components.earlier import Earlier, earlier, system_prompt
from components.example import ExamplePrompt, first_paint, prompts
from components.handlers import Handlers
from components.lines import layout, settings_mark
from components.panel import Controls, panel, speculation_showing

# Calls of a listener at once: more than limits let in (`Bounds.waiting`), so that whoever waits does it in the
# session's queue, which tells the place. gradio's own is the outer bound.
WAITING = 160
# After an example is picked, focus goes to the box, so that Enter runs it.
_FOCUS = "document.querySelector('#prompt textarea').focus();"
_FOCUSED = f"(...values) => {{ {_FOCUS} return values; }}"
Staged = list[tuple[gr.Button, ExamplePrompt]]


@dataclass(frozen=True)
class Compared:
    """What other tabs take from Compare: the visitor's columns, and the board with its answers."""

    columns: gr.State
    view: gr.HTML


@dataclass(frozen=True)
class Ask:
    """What a visitor asks, and after what."""

    prompt: gr.Textbox
    run: gr.Button
    stop: gr.Button
    fold: gr.Accordion
    system: gr.Textbox
    before: Earlier

    @property
    def after(self) -> list[Any]:
        """What `asked_after` updates."""
        return [self.fold, self.system, *self.before.every]


def compare_tab(blocks: gr.Blocks, handlers: Handlers, example: Path) -> Compared:
    """Build the tab inside `blocks` and connect it; `example` is the file of the first paint."""
    examples = prompts(ASSETS / "examples.toml", handlers.family)
    first = first_paint(example, handlers.family, examples[0].text)
    columns = gr.State(first.columns)
    with gr.Row(elem_id="compare"):
        with gr.Column(elem_id="main", min_width=0):
            before = earlier("earlier")
            ask = _ask_row(first.prompt, before)
            staged = _examples(ask.prompt, examples)
            mark = settings_mark(first.decoding)
            view = board(first.log, layout(first.columns, handlers.family, mark))
        controls = panel(handlers.family, first.columns.current, first.decoding)
    _connect(blocks, handlers, columns, ask, view, controls)
    for button, example_prompt in staged:
        button.click(
            partial(handlers.stage, example_prompt),
            [*controls.decoding],
            [ask.prompt, columns, view, *controls.policy],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
            js=_FOCUSED,
        )
    return Compared(columns, view)


def _ask_row(value: str, before: Earlier) -> Ask:
    """The prompt box, Run, Stop, and the system prompt below."""
    with gr.Row(elem_id="ask"):
        prompt = gr.Textbox(
            value, label="Prompt", placeholder="Ask something", lines=1, max_lines=6, elem_id="prompt", scale=1
        )
        run = gr.Button("Run", variant="primary", elem_id="run", scale=0, min_width=88)
        stop = gr.Button("Stop", elem_id="stop", scale=0, min_width=88)
    return Ask(prompt, run, stop, *system_prompt(), before)


def _examples(prompt: gr.Textbox, examples: list[ExamplePrompt]) -> Staged:
    """The examples below the prompt; those that set columns are connected by the caller."""
    staged: Staged = []
    with gr.Row(elem_id="examples"):
        for example in examples:
            button = gr.Button(example.label, size="sm", elem_classes="example", min_width=0, scale=0)
            if example.columns:
                staged.append((button, example))
                continue
            # The text comes from our own file.
            script = f"() => {{ {_FOCUS} return {json.dumps(example.text)}; }}"
            button.click(None, outputs=prompt, js=script, api_visibility="private")
    return staged


def _connect(
    blocks: gr.Blocks,
    handlers: Handlers,
    columns: gr.State,
    ask: Ask,
    view: gr.HTML,
    controls: Controls,
) -> None:
    """Events to handlers. All are private: the page's own."""
    edited: Sequence[gr.components.Component] = [columns, view, *controls.policy]
    gr.on(
        [*(control.input for control in controls.every), controls.name.blur],  # a pasted name comes with blur alone
        handlers.edit,
        [columns, *controls.every],
        edited,
        queue=False,
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
    )
    way, *what_counts = controls.speculation
    way.input(speculation_showing, way, what_counts, queue=False, show_progress="hidden", api_visibility="private")
    view.select(
        handlers.act,
        [columns, *controls.decoding],
        edited,
        queue=False,
        trigger_mode="multiple",
        show_progress="hidden",
        api_visibility="private",
    )
    gr.on(
        [ask.run.click, ask.prompt.submit, view.submit],
        handlers.run,
        [ask.prompt, ask.system, ask.before.context, columns, *controls.decoding],
        view,
        concurrency_limit=WAITING,
        trigger_mode="multiple",
        show_progress="hidden",
        api_visibility="private",
    )
    view.edit(
        handlers.reply,
        [columns, *controls.decoding],
        [ask.prompt, view, *ask.after],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
        js=_FOCUSED,
    )

    async def left(request: gr.Request) -> None:
        """The page is closed, or its connection gone: what it runs ends, and what of it waits in gradio's queue."""
        handlers.stop(request)
        await blocks._queue.clean_events(session_hash=request.session_hash)

    blocks.unload(left)
    ask.stop.click(
        handlers.stop, queue=False, trigger_mode="multiple", show_progress="hidden", api_visibility="private"
    )
    blocks.load(handlers.offer_system, None, ask.fold, queue=False, show_progress="hidden", api_visibility="private")
    blocks.load(
        handlers.open_link,
        columns,
        [ask.prompt, columns, view, *ask.after, *controls.every],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
