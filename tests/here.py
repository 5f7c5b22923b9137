"""The page on a tiny family under limits, in a process that says what it holds; run by tests, not a test.

python tests/here.py FAMILIES FOLDER
"""

import json
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from serving import listening, odd_lab, write_example

CEILING = 60.0  # seconds; a test that waits so long fails


@dataclass(frozen=True)
class Here:
    """A running server."""

    address: str

    def held(self) -> dict[str, int]:
        """Requests that hold rows, how many, and those that the session runs or has waiting."""
        return dict(httpx.get(f"{self.address}held", timeout=CEILING, trust_env=False).json())

    @property
    def busy(self) -> int:
        """How much of it there is."""
        return sum(self.held().values())

    @property
    def config(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.address}config", timeout=CEILING, trust_env=False).json())

    def client(self, address: str = "") -> httpx.Client:
        """A visitor from an address, as a proxy would tell it; without one, from this machine itself."""
        headers = {"x-forwarded-for": address} if address else {}
        return httpx.Client(base_url=self.address, headers=headers, timeout=CEILING, trust_env=False, verify=False)

    def function(self, element: str, event: str) -> int:
        """The number of the listener of a component's event."""
        config = self.config
        (found,) = [each["id"] for each in config["components"] if each["props"].get("elem_id") == element]
        return next(each["id"] for each in config["dependencies"] if [found, event] in each["targets"])


def seconds_until(true: Callable[[], bool], ceiling: float = CEILING) -> float:
    """How long it took until something was so."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < ceiling, "it never came to be"
        time.sleep(0.005)
    return time.monotonic() - began


def asked(client: httpx.Client, prompt: str, **rest: Any) -> str:
    """A call of /compare that is under way; its id."""
    answer = client.post("gradio_api/call/v2/compare", json={"prompt": prompt, **rest})
    answer.raise_for_status()
    return str(answer.json()["event_id"])


def events(client: httpx.Client, name: str) -> Generator[tuple[str, Any], None, None]:
    """What a call says, as (event, data)."""
    with client.stream("GET", f"gradio_api/call/compare/{name}") as answer:
        event = ""
        for line in answer.iter_lines():
            key, _, text = line.partition(": ")
            if key == "event":
                event = text
            elif key == "data":
                yield event, json.loads(text)


def answered(client: httpx.Client, prompt: str, **rest: Any) -> tuple[str, Any]:
    """How a call of /compare ends: ("complete", update) or ("error", message)."""
    *_, (event, data) = events(client, asked(client, prompt, **rest))
    return event, data[0] if event == "complete" else data


@contextmanager
def served_here(families_file: str, folder: Path, **variables: str) -> Iterator[Here]:
    """The page with these limits while the block runs."""
    command = [sys.executable, __file__, families_file, str(folder)]
    with listening(command, folder, HF_HUB_OFFLINE="1", **variables) as address:
        yield Here(address)


def main(families_file: str, folder: Path) -> None:
    """Serve until terminated; the first line of output is the address."""
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from app import build, launch_options
    from components.limits import Limiter
    from components.ratings import Ratings
    from eft_core.settings import Settings

    found = Settings.from_environment()
    here = {"family": "llama", "families_file": families_file, "device": "cpu", "threads": 1, "data_dir": str(folder)}
    settings = replace(found, **here)  # type: ignore[arg-type]
    lab, limiter = odd_lab(settings), Limiter.of(settings)
    session, allowance = lab.session(), limiter.allowance

    def held(_: Any) -> JSONResponse:
        return JSONResponse({"waiting": allowance.waiting, "rows": allowance.rows, "queue": session.queue_length})

    with closing(Ratings.opened(session)) as ratings:
        page = build(lab, ratings, write_example(folder / "example.json", session), limiter=limiter)
        app, address, _ = page.launch(**launch_options(settings, limiter), quiet=True, prevent_thread_lock=True)
        app.router.routes.insert(0, Route("/held", endpoint=held))
        print(address, flush=True)
        page.block_thread()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
