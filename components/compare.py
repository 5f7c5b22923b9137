"""The Compare tab: prompt, board and panel, connected to the handlers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gradio as gr

from components.board import ASSETS, board
from components.example import ExamplePrompt, first_paint, prompts
from components.handlers import Handlers
from components.lines import layout, settings_mark
from components.panel import Controls, panel, speculation_showing

# The session itself takes one comparison after the other; the rest wait there and are told how many are ahead.
WAITING = 16
# After an example is picked, focus goes to the box, so that Enter runs it.
_FOCUS = "document.querySelector('#prompt textarea').focus();"
Staged = list[tuple[gr.Button, ExamplePrompt]]


@dataclass(frozen=True)
class Compared:
    """What other tabs take from Compare: the visitor's columns, and the board with its answers."""

    columns: gr.State
    view: gr.HTML


def compare_tab(blocks: gr.Blocks, handlers: Handlers, example: Path) -> Compared:
    """Build the tab inside `blocks` and connect it; `example` is the file of the first paint."""
    first = first_paint(example, handlers.family)
    columns = gr.State(first.columns)
    with gr.Row(elem_id="compare"):
        with gr.Column(elem_id="main", min_width=0):
            prompt, run, stop, staged = _prompt_row(first.prompt, prompts(ASSETS / "examples.toml", handlers.family))
            mark = settings_mark(first.decoding)
            view = board(first.log, layout(first.columns, handlers.family, mark))
        controls = panel(handlers.family, first.columns.current, first.decoding)
    _connect(blocks, handlers, columns, prompt, run, stop, view, controls)
    for button, example_prompt in staged:
        button.click(
            partial(handlers.stage, example_prompt),
            [*controls.decoding],
            [prompt, columns, view, *controls.policy],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
            js=f"(...values) => {{ {_FOCUS} return values; }}",
        )
    return Compared(columns, view)


def _prompt_row(value: str, examples: list[ExamplePrompt]) -> tuple[gr.Textbox, gr.Button, gr.Button, Staged]:
    """The prompt box, Run, Stop, and the examples below; examples that set columns are connected by the caller."""
    staged: Staged = []
    with gr.Row(elem_id="ask"):
        prompt = gr.Textbox(
            value, label="Prompt", placeholder="Ask something", lines=1, max_lines=6, elem_id="prompt", scale=1
        )
        run = gr.Button("Run", variant="primary", elem_id="run", scale=0, min_width=88)
        stop = gr.Button("Stop", elem_id="stop", scale=0, min_width=88)
    with gr.Row(elem_id="examples"):
        for example in examples:
            button = gr.Button(example.label, size="sm", elem_classes="example", min_width=0, scale=0)
            if example.columns:
                staged.append((button, example))
                continue
            # The text comes from our own file.
            script = f"() => {{ {_FOCUS} return {json.dumps(example.text)}; }}"
            button.click(None, outputs=prompt, js=script, api_visibility="private")
    return prompt, run, stop, staged


def _connect(
    blocks: gr.Blocks,
    handlers: Handlers,
    columns: gr.State,
    prompt: gr.Textbox,
    run: gr.Button,
    stop: gr.Button,
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
        [run.click, prompt.submit, view.submit],
        handlers.run,
        [prompt, columns, *controls.decoding],
        view,
        concurrency_limit=WAITING,
        trigger_mode="multiple",
        show_progress="hidden",
        api_visibility="private",
    )
    stop.click(handlers.stop, queue=False, trigger_mode="multiple", show_progress="hidden", api_visibility="private")
    blocks.load(
        handlers.open_link,
        columns,
        [prompt, columns, view, *controls.every],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
