"""The page on a tiny family whose members fail on demand, in a process of its own; run by tests, not a test.

    python tests/faulty_server.py FAMILIES EXAMPLE

A forward that reads a prompt with [memory] runs out of memory. `poisoned` makes a family whose large base gives nan in
whatever row it has read a ~. Everything else is as it is served.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from serving import listening

MEMORY, NAN = "[memory]", "~"


def poisoned(families_file: str, folder: Path) -> str:
    """A copy of the families, in which the large base of llama knows no number for one token."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    shutil.copytree(Path(families_file).parent, folder)
    weights = folder / "llama-large-base" / "model.safetensors"
    (token,) = AutoTokenizer.from_pretrained(weights.parent).encode(NAN, add_special_tokens=False)
    tensors = load_file(weights)
    tensors["model.embed_tokens.weight"][token] = torch.nan
    save_file(tensors, weights, metadata={"format": "pt"})
    return str(folder / "families.toml")


def failing(session: Any, own: Any) -> Any:
    """A model's pass, with trouble for a prompt that asks for it."""
    import torch

    def read(model: Any, ids: Any, *how: Any, **also: Any) -> Any:
        texts = [session.models.tokenizer.decode(row) for row in ids]
        if any(MEMORY in text for text in texts):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return own(model, ids, *how, **also)

    return read


@contextmanager
def faulty(families_file: str, example: Path) -> Iterator[str]:
    """The address of the page while the block runs."""
    command = [sys.executable, __file__, families_file, str(example)]
    with listening(command, example.parent, HF_HUB_OFFLINE="1") as address:
        yield address


def main(families_file: str, example: str) -> None:
    """Serve until terminated; the first line of output is the address."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from app import serve
    from components.ratings import Ratings
    from eft_core.lab import Lab
    from eft_core.model import Model
    from eft_core.settings import Settings

    kept = str(Path(example).parent / "data")
    lab = Lab(Settings(family="llama", families_file=families_file, device="cpu", threads=1, data_dir=kept))
    Model._pass = failing(lab.session(), Model._pass)  # type: ignore[method-assign]
    ratings = Ratings.opened(lab.session())
    page, pages = serve(lab, ratings, Path(example))
    print(page.local_url, flush=True)
    with closing(ratings), closing(pages):
        page.block_thread()


if __name__ == "__main__":
    main(*sys.argv[1:])
