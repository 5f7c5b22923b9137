"""The Models tab alone on families of its own, in a process of its own; run by tests, not a test.

    python tests/models_server.py FAMILIES FOLDER DEFAULT

Families come from the file FAMILIES, what is added goes to FOLDER. EFT_MANAGE and SPACE_ID decide who may do what.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving import listening, part

PAUSE = 0.4  # seconds that each checkpoint of a family "slow" takes to download


@contextmanager
def models_served(families_file: str, folder: Path, family: str = "llama", **environment: str) -> Iterator[str]:
    """The address of the tab while the block runs."""
    command = [sys.executable, __file__, families_file, str(folder), family]
    with listening(command, folder, HF_HUB_OFFLINE="1", **environment) as address:
        yield address


def main(families_file: str, folder: str, family: str) -> None:
    """Serve until terminated; a line of output is the address."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from dataclasses import replace

    import gradio as gr

    from components.models import models_tab
    from eft_core.events import Downloading
    from eft_core.lab import Lab
    from eft_core.settings import Settings

    def download(name: str) -> Iterator[Downloading]:
        """Bytes come one after the other; none is written, for no hub can be asked here."""
        for done in range(1, 6):
            time.sleep(PAUSE)
            yield Downloading(f"somebody/{name}", done * 1_000_000, 5_000_000)

    settings = replace(
        Settings.from_environment(),
        family=family,
        families_file=families_file or None,
        device="cpu",
        threads=1,
        data_dir=folder,
    )
    lab = Lab(settings)
    with gr.Blocks(title="EFT Lab", analytics_enabled=False, fill_width=True) as page:
        gr.HTML('<p class="card">EFT Lab</p>', js_on_load=None, apply_default_css=False)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Compare", id="compare"):
                gr.Textbox(label="Prompt")
            with gr.Tab("Models", id="models") as tab:
                models_tab(tab, lab, lab.session(), settings.manage, download)
    address = part(
        page.queue(default_concurrency_limit=16),
        "models",
        blocked_paths=[folder],
        server_name=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
    )
    print(address, flush=True)
    page.block_thread()


if __name__ == "__main__":
    main(*sys.argv[1:])
