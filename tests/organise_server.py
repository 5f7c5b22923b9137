"""The organiser's page on a database of its own, in a process of its own; run by tests, not a test.

    python tests/organise_server.py FOLDER PASSWORD ORGANISERS

Serves FOLDER/ratings.sqlite3, which tests fill, and the form for the family Atlas, of which no model runs. PASSWORD and
ORGANISERS may be empty. With SYSTEM=spaces and the OAUTH_* of a Space in the environment, people can sign in.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving import listening, part

from eft_core.families import family_named
from eft_core.ratings.office import Office
from eft_core.storage import Storage

PASSWORD = "correct horse battery"


def storage_of(folder: Path) -> Storage:
    return Storage(f"sqlite:///{folder / 'ratings.sqlite3'}")


@contextmanager
def organise_served(folder: Path, password: str = PASSWORD, organisers: str = "", **environment: str) -> Iterator[str]:
    """The address of the page while the block runs."""
    storage_of(folder).close()  # two processes that make the tables at once would wait for each other
    command = [sys.executable, __file__, str(folder), password, organisers]
    with listening(command, folder, **environment) as address:
        yield address


def main(folder: str, password: str, organisers: str) -> None:
    """Serve until terminated; a line of output is the address."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr

    from components.gate import Gate, oauth_on
    from components.organise_form import Form
    from components.organise_tab import organise_page
    from components.organising import Organiser

    gate = Gate(password, tuple(organisers.split()))
    organiser = Organiser(Office(storage_of(Path(folder))), gate, Form(family_named("atlas"), oauth_on()))
    with gr.Blocks(title="EFT Lab", analytics_enabled=False, fill_width=True) as page:
        gr.HTML('<p class="card">EFT Lab</p>', js_on_load=None, apply_default_css=False)
    with page.route("Organise", "organise", show_in_navbar=False):
        gr.HTML('<p class="card"></p>', js_on_load=None, apply_default_css=False)
        organise_page(page, organiser)
    address = part(page, "organise", server_port=int(os.environ.get("PORT", "0")) or None)
    print(f"{address}organise", flush=True)
    page.block_thread()


if __name__ == "__main__":
    main(*sys.argv[1:])
