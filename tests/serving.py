"""The page on a tiny family in a process of its own, as visitors meet it; run by tests, not a test.

    python tests/serving.py FAMILIES EXAMPLE

The session is a real one but for prompts that ask for trouble: [slow] takes a pause a token, [hostile] makes every
model write hostile text, and every token of it, [corpus] a whole corpus of it (`injections`), with a last line that
differs from model to model, [broken] fails inside.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from injections import INJECTIONS

ROOT = Path(__file__).parent.parent
# Every way in which a renderer could take text for code (ECOSYSTEM.md 1.5).
HOSTILE = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    "${window.hacked = 1}{{window.hacked = 1}}{{{window.hacked}}}`${window.hacked = 1}`</div>&lt;"
)
# All that a model may write, and it writes no halves of characters: each of its texts is one that was decoded.
CORPUS = "\n".join(text for text in INJECTIONS if "\ud83d" not in text)
PAUSE = 0.05


def odd(session: Any) -> Any:
    """`session`, with trouble for the prompts that ask for it."""
    from eft_core.config import Request
    from eft_core.events import Answer, Done, Event, RowFinished, Started, TokensDrawn, Working
    from eft_core.job import Needs
    from eft_core.tickets import Claim
    from eft_core.token_text import Texts

    @dataclass(frozen=True)
    class HostileTexts:
        written: str

        def text(self, number: int) -> str:
            return self.written

        def of(self, ids: Any) -> Texts:
            return Texts(dict.fromkeys(ids, self.written), {}, {})

    class Odd:
        token_texts: Any  # the session's own until a prompt asks for others

        def __getattr__(self, name: str) -> Any:
            return getattr(session, name)

        def plan(self, request: Request) -> Any:
            self._read(request.rows[0].prompt)
            return session.plan(request)

        def inspect(self, texts: Any) -> Any:
            self._read(texts[0].prompt)
            return session.inspect(texts)

        def _read(self, prompt: str) -> None:
            self.token_texts = HostileTexts(text) if (text := hostile_of(prompt)) else session.token_texts

        def stream(self, request: Request) -> Iterator[Event]:
            prompt, slow = request.rows[0].prompt, "[slow]" in request.rows[0].prompt
            with ExitStack() as stack:
                stream = stack.enter_context(closing(session.stream(request)))
                for event in stream:
                    if slow and isinstance(event, Started):  # as slow for all others
                        next(stack.enter_context(closing(occupied(len(request.rows)))))
                    tokens = len(event.token_ids) if isinstance(event, TokensDrawn) else 1
                    time.sleep(tokens * (PAUSE if slow else 0.002))
                    if "[broken]" in prompt:
                        raise RuntimeError("the details are for the log")
                    yield hostile(event, text) if (text := hostile_of(prompt)) else event

    def occupied(rows: int) -> Any:
        """All rows that the session runs at once, but for some."""

        def script(owner: Any) -> Any:
            yield [Working()]
            while True:
                time.sleep(0.01)
                yield []

        return session._engine.follow(Claim(session, session.settings.rows - rows, Needs()), script)

    def hostile_of(prompt: str) -> str:
        return HOSTILE if "[hostile]" in prompt else CORPUS if "[corpus]" in prompt else ""

    def hostile(event: Event, text: str) -> Event:
        if isinstance(event, TokensDrawn):
            return replace(event, text=of_row(text, event.row) * len(event.token_ids))
        if isinstance(event, RowFinished):
            return replace(event, tail="", answer=replace(said(event.answer, text, event.row), message=text))
        if isinstance(event, Done):  # what was compared may be judged
            return replace(event, answers=tuple(said(each, text, row) for row, each in enumerate(event.answers)))
        return event

    def said(answer: Answer, text: str, row: int) -> Answer:
        return replace(answer, text=of_row(text, row) * len(answer.token_ids))

    def of_row(text: str, row: int) -> str:
        return f"{text}\n{row}\n"  # nobody is asked to judge equal answers

    return Odd()


def write_example(file: Path, session: Any, text: str = "Nairobi.") -> Path:
    """What `python -m eft_core compare --json` writes, with texts of our own."""
    from eft_core.family import default_columns

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


def address_told(output: IO[str]) -> str:
    """The address among the first lines that a server prints."""
    lines = (line.strip().removeprefix("EFT Lab: ") for line in output)
    address = next((line for line in lines if line.startswith("http://")), "")
    assert address, "the server did not start: its error is above"
    return address


@contextmanager
def listening(command: list[str], folder: Path, **variables: str) -> Iterator[str]:
    """A server in a process of its own while the block runs; its address is the first that it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder)
    assert process.stdout is not None
    try:
        yield address_told(process.stdout)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def part(page: Any, *styles: str, **options: Any) -> str:
    """Launch a part of the page, with the looks and the shield of the whole; its address."""
    from components.board import ASSETS
    from components.shield import Shielded
    from components.theme import theme
    from eft_core.settings import Settings

    _, address, _ = page.launch(
        theme=theme(),
        css_paths=[ASSETS / f"{name}.css" for name in ("palette", "style", *styles)],
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        show_error=False,
        pwa=False,
        quiet=True,
        prevent_thread_lock=True,
        _app=Shielded(Settings()),
        **{"server_name": "127.0.0.1"} | options,
    )
    return str(address)


@contextmanager
def served(families_file: str, example: Path) -> Iterator[str]:
    """The address of the page while the block runs."""
    command = [sys.executable, __file__, families_file, str(example)]
    with listening(command, example.parent, HF_HUB_OFFLINE="1") as address:
        yield address


@contextmanager
def app_served(data: str = "", **variables: str) -> Iterator[str]:
    """The address of `python app.py`, as the README starts it, on a free port; `data` is the folder of its data."""
    port = str(free_port())
    with tempfile.TemporaryDirectory() as kept:  # no test looks at the user's own data
        own = {"GRADIO_SERVER_PORT": port, "EFT_DEVICE": "cpu", "EFT_DATA_DIR": data or kept}
        own["EFT_FAMILY"] = os.environ.get("EFT_FAMILY", "atlas")  # whatever would suit the machine
        with listening([sys.executable, "app.py"], ROOT, **(own | variables)) as address:
            yield address


def odd_lab(settings: Any) -> Any:
    """A lab all of whose sessions are odd."""
    from eft_core.lab import Lab
    from eft_core.session import Session

    class OddLab(Lab):
        """As it says."""

        def session(self, name: str | None = None) -> Session:
            session = super().session(name)
            if session not in made:
                made[session] = odd(session)
            return made[session]

    made: dict[Session, Any] = {}
    return OddLab(settings)


def main(families_file: str, example: str) -> None:
    """Serve until terminated; the first line of output is the address."""
    from app import serve
    from components.ratings import Ratings
    from eft_core.settings import Settings

    kept = str(Path(example).parent / "data")  # a test's own: runs are kept there
    lab = odd_lab(Settings(family="llama", families_file=families_file, device="cpu", threads=1, data_dir=kept))
    ratings = Ratings.opened(lab.session())
    page, pages = serve(lab, ratings, Path(example))
    ratings.ahead.start()
    print(page.local_url, flush=True)
    with closing(pages):
        page.block_thread()


if __name__ == "__main__":
    main(*sys.argv[1:])
