"""EFT Lab's web page: `python app.py` serves it on http://127.0.0.1:7860. Wiring only.

GRADIO_SERVER_NAME and GRADIO_SERVER_PORT move it; EFT_FAMILY, EFT_FAMILIES, EFT_DEVICE, EFT_DTYPE, EFT_MEMORY_GB,
EFT_THREADS and EFT_FORWARD decide what it runs; EFT_DATA_DIR, EFT_DATABASE_URL and EFT_BACKUP where judgements are
kept, EFT_ORGANISER_PASSWORD and EFT_ORGANISERS who may ask for them. Nothing reaches any other host, but for what these
name.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

# Before gradio is imported: it reads them once. No telemetry, no version check.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from gradio.utils import get_space

from components.api import compare_endpoint, inspect_endpoint
from components.board import ASSETS
from components.compare import WAITING, compare_tab
from components.gate import Gate, oauth_on
from components.handlers import Handlers
from components.header import header, source_link
from components.inspect_tab import inspect_tab
from components.inspecting import Inspector
from components.models import models_tab
from components.organise_form import Form
from components.organise_tab import organise_page
from components.organising import Organiser
from components.rate_tab import rate_tab
from components.rating import Rater
from components.ratings import Ratings
from components.ratings_results import RatingsResults
from components.ratings_results_tab import ratings_results_tab
from components.results import Results
from components.results_tab import results_tab
from components.sweep_tab import sweep_tab
from components.sweeping import Sweeper
from components.theme import theme
from eft_core.config import Settings
from eft_core.session import Session
from eft_core.storage import Unavailable


def build(session: Session, ratings: Ratings, example: Path = ASSETS / "example.json") -> gr.Blocks:
    """The page on one session, which serves all visitors; no weights are loaded.

    `example` is its first paint, and the folder `reports` beside it that of Results.
    """
    handlers = Handlers(session, session.family)
    gate = Gate(session.settings.organiser_password, session.settings.organisers)
    human = RatingsResults(ratings.source(gate))
    with gr.Blocks(title="EFT Lab", analytics_enabled=False, fill_width=True) as page:
        header(session.family, session.device)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Compare", id="compare"):
                compared = compare_tab(page, handlers, example)
            with gr.Tab("Inspect", id="inspect") as inspecting:
                inspect_tab(tabs, inspecting, compared, Inspector(handlers, ratings.answers))
            with gr.Tab("Sweep", id="sweep") as sweeping:
                sweep_tab(page, tabs, sweeping, compared, Sweeper(handlers))
            with gr.Tab("Rate", id="rate"):
                rate_tab(page, tabs, Rater(ratings.desk, session.family.name, handlers.latest.of))
            with gr.Tab("Results", id="results") as measuring, gr.Tabs(elem_id="result-tabs"):
                with gr.Tab("Experiments"):
                    results_tab(measuring, Results(handlers, example.parent / "reports"))
                with gr.Tab("Ratings") as rated:
                    ratings_results_tab(rated, human)
            with gr.Tab("Models", id="models"):
                models_tab(session)
        source_link(get_space())
        compare_endpoint(handlers, WAITING)
        inspect_endpoint(handlers, WAITING)
    with page.route("Organise", "organise", show_in_navbar=False):
        organise_page(page, Organiser(ratings.office, gate, Form(session.family, oauth_on())), human)
    return page.queue(max_size=64, default_concurrency_limit=WAITING)


STYLES = ("palette", "style", "strip", "sweep", "rate", "results", "ratings", "organise")


def launch_options(settings: Settings) -> dict[str, Any]:
    """How the page is served, for `main` and for tests. Nothing of the data folder is ever handed out as a file."""
    return {
        "theme": theme(),
        "css_paths": [ASSETS / f"{name}.css" for name in STYLES],
        "footer_links": ["api"],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "share": False,
        "show_error": False,
        "blocked_paths": [str(settings.data_folder)],
        "max_file_size": "16mb",
        "pwa": False,
    }


def main() -> None:
    """Print the address and serve until interrupted or told to end; what is kept is then handed to the backup."""
    session = Session(Settings.from_environment())
    try:
        ratings = Ratings.opened(session)
    except (ValueError, Unavailable) as error:
        raise SystemExit(f"EFT Lab cannot keep judgements: {error}") from error
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as Spaces and systemd end it: like Ctrl-C, in good order
    page = build(session, ratings)
    _, address, _ = page.launch(**launch_options(session.settings), quiet=True, prevent_thread_lock=True)
    ratings.ahead.start()
    print(f"EFT Lab: {address}", flush=True)
    try:
        page.block_thread()
    finally:
        ratings.close()


if __name__ == "__main__":
    main()
