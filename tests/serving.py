"""The page on a tiny family in a process of its own, as visitors meet it; run by tests, not a test.

    python tests/serving.py FAMILIES EXAMPLE

The session is a real one but for prompts that ask for trouble: [slow] takes a pause a token, [hostile] makes every
model write hostile text, and every token of it, [broken] fails inside.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# Every way in which a renderer could take text for code (ECOSYSTEM.md 1.5).
HOSTILE = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    "${window.hacked = 1}{{window.hacked = 1}}{{{window.hacked}}}`${window.hacked = 1}`</div>&lt;"
)
PAUSE = 0.05


def odd(session: Any) -> Any:
    """`session`, with trouble for the prompts that ask for it."""
    from eft_core.config import Request
    from eft_core.events import Event, RowFinished, TokensDrawn
    from eft_core.token_text import Texts

    class HostileTexts:
        def text(self, number: int) -> str:
            return HOSTILE

        def of(self, ids: Any) -> Texts:
            return Texts(dict.fromkeys(ids, HOSTILE), {}, {})

    class Odd:
        token_texts: Any = session.token_texts

        def __getattr__(self, name: str) -> Any:
            return getattr(session, name)

        def plan(self, request: Request) -> Any:
            self._read(request.rows[0].prompt)
            return session.plan(request)

        def inspect(self, texts: Any) -> Any:
            self._read(texts[0].prompt)
            return session.inspect(texts)

        def _read(self, prompt: str) -> None:
            self.token_texts = HostileTexts() if "[hostile]" in prompt else session.token_texts

        def stream(self, request: Request) -> Iterator[Event]:
            prompt = request.rows[0].prompt
            stream = session.stream(request)
            try:
                for event in stream:
                    time.sleep(PAUSE if "[slow]" in prompt else 0.002)
                    if "[broken]" in prompt:
                        raise RuntimeError("the details are for the log")
                    yield hostile(event) if "[hostile]" in prompt else event
            finally:
                stream.close()

    def hostile(event: Event) -> Event:
        if isinstance(event, TokensDrawn):
            return replace(event, text=HOSTILE)
        if isinstance(event, RowFinished):
            answer = replace(event.answer, text=HOSTILE * len(event.answer.token_ids), message=HOSTILE)
            return replace(event, tail="", answer=answer)
        return event

    return Odd()


def write_example(file: Path, session: Any, text: str = "Nairobi.") -> Path:
    """What `python -m eft_core compare --json` writes, with texts of our own."""
    from eft_core.families import default_columns

    columns = [
        {
            "label": label,
            "policy": policy.to_dict(),
            "formula": policy.formula(),
            "text": f"{text} {label}",
            "token_ids": [2, 3, 4],
            "seconds": 0.5,
            "tokens_per_second": 6.0,
            "reason": "end",
        }
        for label, policy in default_columns(session.family)
    ]
    sampling = {"temperature": 0.0, "top_k": None, "top_p": None, "seed": 0}
    limits = {"max_new_tokens": 60, "stop": []}
    settings = {"family": session.family.name, "sampling": sampling, "limits": limits}
    document = {"prompt": "What is the capital of Kenya?", **settings, "columns": columns}
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


@contextmanager
def listening(command: list[str], folder: Path, **variables: str) -> Iterator[str]:
    """A server in a process of its own while the block runs; its address is the first that it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder)
    assert process.stdout is not None
    try:
        lines = (line.strip().removeprefix("EFT Lab: ") for line in process.stdout)
        address = next((line for line in lines if line.startswith("http://")), "")
        assert address, "the server did not start: its error is above"
        yield address
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@contextmanager
def served(families_file: str, example: Path) -> Iterator[str]:
    """The address of the page while the block runs."""
    command = [sys.executable, __file__, families_file, str(example)]
    with listening(command, example.parent, HF_HUB_OFFLINE="1") as address:
        yield address


@contextmanager
def app_served(data: str = "", **variables: str) -> Iterator[str]:
    """The address of `python app.py`, as the README starts it, on a free port; `data` is the folder of its data."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as kept:  # no test looks at the user's own data
        own = {"GRADIO_SERVER_PORT": port, "EFT_DEVICE": "cpu", "EFT_DATA_DIR": data or kept}
        with listening([sys.executable, "app.py"], ROOT, **(own | variables)) as address:
            yield address


def main(families_file: str, example: str) -> None:
    """Serve until terminated; the first line of output is the address."""
    from app import build, launch_options
    from components.ratings import Ratings
    from eft_core.config import Settings
    from eft_core.session import Session

    kept = str(Path(example).parent / "data")  # a test's own: runs are kept there
    session = odd(Session(Settings(families_file=families_file, device="cpu", threads=1, data_dir=kept), "llama"))
    ratings = Ratings.opened(session)
    page = build(session, ratings, Path(example))
    _, address, _ = page.launch(**launch_options(session.settings), quiet=True, prevent_thread_lock=True)
    ratings.ahead.start()
    print(address, flush=True)
    page.block_thread()


if __name__ == "__main__":
    main(*sys.argv[1:])
