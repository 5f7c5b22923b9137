"""The Rate tab alone on a database of its own, in a process of its own; run by tests, not a test.

    python tests/rating_server.py FOLDER

Serves FOLDER/ratings.sqlite3, which tests fill with campaigns whose answers are written already: no model runs. What
a visitor "just compared" is always `SHOWN`. With SYSTEM=spaces and the OAUTH_* of a Space in the environment, people
can sign in.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving import listening, part

from eft_core.config import Limits, Sampling
from eft_core.policy import plain, tuned
from eft_core.ratings.campaign import Contender
from eft_core.ratings.free import Said, Shown
from eft_core.storage import Storage

# What would unblind: labels, sizes and behaviours that occur nowhere else on the page.
CONTENDERS = (Contender("Zanzibar", plain("titanic")), Contender("Timbuktu", tuned("florid", "minnow")))
SECRETS = ("zanzibar", "timbuktu", "titanic", "florid", "minnow")
TEXTS = ("This answer.", "That answer.")
SHOWN = Shown(
    "run",
    "toy",
    "What did you compare?",
    Sampling(),
    Limits(),
    tuple(
        Said(each.label, each.policy, text, (1, 2, 3), "end", {}, {})
        for each, text in zip(CONTENDERS, TEXTS, strict=True)
    ),
)


def storage_of(folder: Path) -> Storage:
    return Storage(f"sqlite:///{folder / 'ratings.sqlite3'}")


@contextmanager
def rating_served(folder: Path, **environment: str) -> Iterator[str]:
    """The address of the tab while the block runs."""
    with listening([sys.executable, __file__, str(folder)], folder, **environment) as address:
        yield address


def main(folder: str) -> None:
    """Serve until terminated; a line of output is the address."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr

    from components.rate_tab import rate_tab
    from components.rating import Rater
    from eft_core.ratings.desk import Desk

    rater = Rater(Desk(storage_of(Path(folder))), "toy", lambda visitor: SHOWN)
    with gr.Blocks(title="EFT Lab", analytics_enabled=False, fill_width=True) as page:
        gr.HTML('<p class="card">EFT Lab</p>', js_on_load=None, apply_default_css=False)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Compare", id="compare"):
                gr.Textbox(label="Prompt")
            with gr.Tab("Rate", id="rate"):
                rate_tab(page, tabs, rater)
    address = part(page, "rate")
    print(address, flush=True)
    page.block_thread()


if __name__ == "__main__":
    main(*sys.argv[1:])
