"""Results, Ratings alone on made votes, in a process of its own; run by tests, not a test.

    python tests/ratings_server.py

Its study has labels and raters whose names are hostile; "Nothing yet" has no votes.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from serving import HOSTILE, ROOT, listening
from voted import policies, simulated

from eft_core.ratings.votes import Votes

STUDY, EMPTY = "study", "nothing"
CAMPAIGNS = ((STUDY, f"A study {HOSTILE}"), (EMPTY, "Nothing yet"))


def study() -> Votes:
    """Three policies; the first one's label and one rater's name are hostile."""
    found = simulated(annotators=12, items=60, each=50, count=3)
    table = found.table.assign(annotator=found.table["annotator"].replace({"rater 0": HOSTILE}))
    return replace(found, table=table, policies=policies(3, (HOSTILE, "Small tuned", "Up-scaled")))


def load(campaign: str | None, organiser: bool) -> Votes:
    return Votes.empty() if campaign == EMPTY else study()


@contextmanager
def served() -> Iterator[str]:
    """The address of the page while the block runs."""
    with listening([sys.executable, __file__], ROOT) as address:
        yield address


def main() -> None:
    """Serve until terminated; the first line of output is the address."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr

    from app import launch_options
    from components.board import ASSETS
    from components.ratings_results import RatingsResults, Source
    from components.ratings_results_tab import ratings_results_tab
    from eft_core.settings import Settings

    source = Source(lambda badge, login: True, lambda organiser: CAMPAIGNS, load)
    with gr.Blocks(fill_width=True) as page:
        gr.HTML('<p class="card">A page</p>', padding=False)  # what `visit` waits for
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Experiments", id="experiments"):
                gr.HTML("<p>Something else</p>")
            with gr.Tab("Ratings", id="ratings") as tab:
                ratings_results_tab(tab, RatingsResults(source))
    options = launch_options(Settings())
    styles = dict.fromkeys([*options["css_paths"], ASSETS / "ratings.css"])
    options |= {"css_paths": list(styles)}
    _, address, _ = page.queue().launch(**options, quiet=True, prevent_thread_lock=True)
    print(address, flush=True)
    page.block_thread()


if __name__ == "__main__":
    main()
