"""What is kept of open pages: their own values, and one description of the components for all."""

import asyncio

import gradio as gr
import pytest
from gradio.routes import App
from gradio.state_holder import StateHolder

from components.page_states import PageState, PageStates, shared
from components.shield import Shielded
from eft_core.settings import Settings


@pytest.fixture(scope="module")
def blocks() -> gr.Blocks:
    async def made() -> gr.Blocks:
        """In a loop, for gradio wants one for each of its locks: without one it leaves its own open."""
        with gr.Blocks(analytics_enabled=False) as blocks:
            gr.State([1])
            gr.Textbox("first")
            gr.HTML("<b>second</b>")
        return blocks

    return asyncio.run(made())


def of(holder: StateHolder, blocks: gr.Blocks) -> StateHolder:
    holder.set_blocks(blocks)
    return holder


def test_a_page_is_described_as_gradio_does_it(blocks: gr.Blocks) -> None:
    ours, theirs = of(PageStates(), blocks)["one"], of(StateHolder(), blocks)["one"]
    assert dict(ours.config_values) == dict(theirs.config_values)
    assert list(ours.components) == list(theirs.components)
    assert vars(ours).keys() == vars(theirs).keys()
    assert ours.STATE_TTL_WHEN_CLOSED == theirs.STATE_TTL_WHEN_CLOSED


def test_what_a_page_changes_is_its_own(blocks: gr.Blocks) -> None:
    states = of(PageStates(), blocks)
    (state, box, _) = (block for block in blocks.blocks.values() if isinstance(block, gr.components.Component))
    one, other = states["one"], states["other"]
    one._update_value_in_config(box._id, "changed")
    one[state._id] = [2]
    assert one.config_values[box._id]["props"]["value"] == "changed"
    assert other.config_values[box._id]["props"]["value"] == "first"
    assert (one[state._id], other[state._id]) == ([2], [1])
    one[box._id] = gr.Textbox("another", render=False)
    assert other[box._id] is box
    assert states["later"].config_values[box._id]["props"]["value"] == "first"


def test_pages_share_what_they_do_not_change(blocks: gr.Blocks) -> None:
    states = of(PageStates(), blocks)
    states.capacity = 3
    for number in range(5):
        assert not states[str(number)].config_values._own  # type: ignore[attr-defined]
    assert list(states.session_data) == ["2", "3", "4"]


def test_an_app_that_gradio_made_keeps_its_pages_so_too(blocks: gr.Blocks) -> None:
    async def made() -> App:
        return App.create_app(blocks)

    app = asyncio.run(made())
    shared(app)
    assert app.state_holder is blocks.state_holder
    assert isinstance(app.state_holder["one"], PageState)


def test_the_app_keeps_its_pages_so() -> None:
    async def made() -> Shielded:
        return Shielded(Settings())

    assert isinstance(asyncio.run(made()).state_holder, PageStates)
