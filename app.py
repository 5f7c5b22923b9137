"""EFT Lab's web page: `python app.py` serves it on http://127.0.0.1:7860. Wiring only.

GRADIO_SERVER_NAME and GRADIO_SERVER_PORT move it; EFT_FAMILY, EFT_FAMILIES, EFT_DEVICE, EFT_DTYPE, EFT_MEMORY_GB,
EFT_THREADS and EFT_FORWARD decide what it runs; EFT_DATA_DIR, EFT_DATABASE_URL and EFT_BACKUP where judgements are
kept, EFT_ORGANISER_PASSWORD and EFT_ORGANISERS who may ask for them, EFT_MANAGE who may change models from the page,
EFT_FRAME_ANCESTORS who may frame it; EFT_LOG, EFT_LOG_LEVEL, EFT_LOG_PROMPTS and EFT_METRICS what it tells of itself;
EFT_ROWS, EFT_WORKERS and EFT_LIMIT_* what visitors may ask for, and EFT_PROXIES how they are told apart.
Nothing reaches any other host, but for what these name, and the Hub when somebody downloads a checkpoint.
"""

import gc
import logging
import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Before gradio is imported: it reads them once. No telemetry, no version check.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# gradio makes a table of its latest calls whenever one ends, which nobody looks at (`enable_monitoring`).
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = "1000000000000"

# gradio looks for matplotlib around every answer that it sends, on the whole path where there is none.
if find_spec("matplotlib") is None:
    sys.modules["matplotlib"] = None  # type: ignore[assignment]

import gradio as gr
from gradio.utils import get_space
from starlette.middleware import Middleware

from components.api import compare_endpoint, inspect_endpoint
from components.board import ASSETS
from components.compare import WAITING, compare_tab
from components.door import Door
from components.family_pages import FamilyPages
from components.gate import Gate, oauth_on
from components.guard import Guard
from components.handlers import Handlers
from components.header import header, source_link
from components.inspect_tab import inspect_tab
from components.inspecting import Inspector
from components.limits import QUEUE, THREADS, Limiter
from components.meter import Meter
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
from components.service import Service
from components.service_stopping import end_in_order, leave, stop
from components.shield import Shielded
from components.shield_rules import MOST_FILE
from components.starting import opened
from components.sweep_tab import sweep_tab
from components.sweeping import Sweeper
from components.theme import theme
from eft_core.allocator import one_heap
from eft_core.lab import Lab
from eft_core.logs import Printed, adopt, configure, secrets_of
from eft_core.settings import Settings
from eft_core.storage import Unavailable

EXAMPLE = ASSETS / "example.json"
UPLOADS = (600, 7200)  # seconds: how often uploaded files are looked through, and the age at which they go


def build(
    lab: Lab,
    ratings: Ratings,
    example: Path = EXAMPLE,
    name: str | None = None,
    limiter: Limiter | None = None,
    meter: Meter | None = None,
) -> gr.Blocks:
    """The page of the default family, or of the family `name`, for all visitors; no weights are loaded.

    `example` is its first paint, and the folder `reports` beside it that of Results. Campaigns are organised on the
    default family's page, whose models write their answers. All pages of a process have one `limiter`.
    """
    limiter = limiter or Limiter.of(lab.settings)
    session = lab.session(name)
    ratings = replace(ratings, family=session.family.name)
    handlers = Handlers(session, session.family, limits=limiter, meter=meter or Meter())
    gate = Gate(session.settings.organiser_password, session.settings.organisers)
    human = RatingsResults(ratings.source(gate))
    with gr.Blocks(title="EFT Lab", analytics_enabled=False, fill_width=True, delete_cache=UPLOADS) as page:
        header(page, lab, session.family, session.device)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Compare", id="compare"):
                compared = compare_tab(page, handlers, example)
            with gr.Tab("Inspect", id="inspect") as inspecting:
                inspect_tab(tabs, inspecting, compared, Inspector(handlers, ratings.answers))
            with gr.Tab("Sweep", id="sweep") as sweeping:
                sweep_tab(page, tabs, sweeping, compared, Sweeper(handlers))
            with gr.Tab("Rate", id="rate"):
                rate_tab(
                    page, tabs, Rater(ratings.desk, ratings.family, handlers.latest.of, session.family.title, limiter)
                )
            with gr.Tab("Results", id="results") as measuring, gr.Tabs(elem_id="result-tabs"):
                with gr.Tab("Experiments"):
                    results_tab(measuring, Results(handlers, example.parent / "reports"))
                with gr.Tab("Ratings") as rated:
                    ratings_results_tab(rated, human)
            with gr.Tab("Models", id="models") as managed:
                models_tab(managed, lab, session, lab.settings.manage, lab.download, limiter)
        source_link(get_space())
        compare_endpoint(handlers, WAITING)
        inspect_endpoint(handlers, WAITING)
    if session.family.name == lab.default:
        with page.route("Organise", "organise", show_in_navbar=False):
            organise_page(
                page, Organiser(ratings.office, gate, Form(session.family, oauth_on()), limiter.visitors), human
            )
    # Of a family's page, which is mounted and not launched.
    page.max_threads, page.state_session_capacity = THREADS, SESSIONS
    page.queue(max_size=QUEUE, default_concurrency_limit=WAITING)
    page._queue.sleep_when_free = 0.01  # seconds; gradio looks a thousand times a second, a fifth of an idle core
    page._queue.progress_update_sleep_when_free = 1.0  # for news of `gr.Progress`, which nothing here has
    return page


# Pages whose state is kept (`page_states`); gradio keeps ten thousand.
SESSIONS = 500
STYLES = ("palette", "style", "strip", "sweep", "rate", "results", "ratings", "models", "organise")


def launch_options(settings: Settings, limiter: Limiter | None = None) -> dict[str, Any]:
    """How the page is served, for `main` and for tests. Nothing of the data folder is ever handed out as a file."""
    door = Middleware(Door, limiter or Limiter.of(settings))
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
        "max_file_size": MOST_FILE,
        "max_threads": THREADS,
        "app_kwargs": {"middleware": [door, Middleware(Guard)]},
        "pwa": False,
    }


def serve(
    lab: Lab, ratings: Ratings, example: Path = EXAMPLE, service: Service | None = None
) -> tuple[gr.Blocks, FamilyPages]:
    """The default family's page, launched, and the pages of all others; the caller closes them (`stop`)."""
    service, limiter = service or Service(lab, ratings.storage), Limiter.of(lab.settings)
    page = build(lab, ratings, example, limiter=limiter, meter=service.meter)
    options = launch_options(lab.settings, limiter)
    shielded = Shielded(lab.settings, options["app_kwargs"]["middleware"])  # of an app that is given gradio adds none
    service.mount(shielded)
    app, _, _ = page.launch(
        **options, _app=shielded, state_session_capacity=SESSIONS, quiet=True, prevent_thread_lock=True
    )
    options = launch_options(lab.settings, limiter)  # gradio has written into the first
    pages = FamilyPages(lab, lambda name: build(lab, ratings, example, name, limiter, service.meter), options)
    pages.mount(app)
    return page, pages


def main() -> None:
    """Print the address and serve until interrupted or told to end; what is kept is then handed to the backup."""
    end_in_order()
    one_heap()
    try:
        settings = Settings.from_environment()
        configure(settings.logging, secrets_of(os.environ))
        lab, beginning = opened(settings, download=Lab.download)
    except ValueError as error:
        raise SystemExit(f"EFT Lab cannot start: {error}") from error
    try:
        ratings = Ratings.opened(lab.session())
    except (ValueError, Unavailable) as error:
        raise SystemExit(f"EFT Lab cannot keep judgements: {error}") from error
    service = Service(lab, ratings.storage)
    page, pages = serve(lab, ratings, service=service)
    ratings.ahead.start()
    # What is there from the beginning stays: looking through it for garbage would hold everybody up for half a second.
    gc.collect()
    gc.freeze()
    print(f"{beginning}\nEFT Lab: {page.local_url}", flush=True)
    overhear(settings.logging.prompts)
    try:
        page.block_thread()
    except SystemExit:  # of a signal
        stop(page, pages, ratings, service)
        leave()


def overhear(prompts: bool) -> None:
    """From now on what gradio, its server and others log or print goes into our log."""
    adopt("uvicorn", "uvicorn.error", "uvicorn.access")
    printed = logging.getLogger("eft_lab.printed")
    sys.stdout, sys.stderr = Printed(printed, logging.INFO, prompts), Printed(printed, logging.WARNING, prompts)


if __name__ == "__main__":
    main()
