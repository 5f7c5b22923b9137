"""Families that come and go while their pages are served, in a process of its own; run by tests, not a test.

    python tests/family_pages_here.py FAMILIES FOLDER

Prints what was seen as one JSON object.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx


def table(families_file: str, title: str) -> dict[str, Any]:
    """A family as somebody adds one: three of the tiny checkpoints."""
    folder = Path(families_file).parent
    return {
        "title": title,
        "sizes": ["small", "large"],
        "base": {"small": str(folder / "gpt2-small-base"), "large": str(folder / "gpt2-large-base")},
        "tuned": {"helpful": {"small": str(folder / "gpt2-small-helpful")}},
    }


def come_and_gone(address: str, pages: Any, lab: Any, families_file: str) -> list[Any]:
    """What a family's address answers as it is added, removed, and added anew; then whether all of it has ended."""
    mine, seen = f"{address}families/mine/", list[Any]()
    seen.append(httpx.get(mine).status_code)
    lab.add("mine", table(families_file, "First"))
    seen.append("First" in httpx.get(mine).text)
    first = pages._pages["mine"].blocks
    lab.remove("mine")
    seen += [httpx.get(f"{mine}config").status_code, first.is_running, first._queue.stopped]
    lab.add("mine", table(families_file, "Second"))
    seen.append("Second" in httpx.get(mine).text)
    lab.remove("mine")
    lab.add("mine", table(families_file, "Third"))
    seen.append("Third" in httpx.get(mine).text)
    lab.remove("mine")
    return seen


def at_once(address: str, pages: Any) -> tuple[list[int], list[str]]:
    """What visitors get who come at the same moment, and the pages that were made for them."""
    made, make = list[str](), pages._make

    def counted(name: str) -> Any:
        made.append(name)
        return make(name)

    async def visitors() -> list[int]:
        async with httpx.AsyncClient(base_url=address, timeout=60, trust_env=False) as client:
            asked = [client.get(f"/families/{name}/") for name in ("gpt2", "neox", "gpt2", "neox", "gpt2")]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    pages._make = counted
    return asyncio.run(visitors()), sorted(made)


def below_a_root(address: str) -> list[str]:
    """A page's own root, where its address leads, and the way back from one that is not there."""
    origin = address.rstrip("/").removesuffix("/lab")
    root = httpx.get(f"{origin}/families/gpt2/config").json()["root"].removeprefix(origin)
    led = httpx.get(f"{origin}/families/gpt2").headers["location"]
    return [root, led, httpx.get(f"{origin}/families/nope/").text.partition('href="')[2].partition('"')[0]]


def main(families_file: str, folder: str) -> None:
    from app import serve
    from components.ratings import Ratings
    from eft_core.lab import Lab
    from eft_core.settings import Settings

    lab = Lab(Settings(family="llama", families_file=families_file, device="cpu", threads=1, data_dir=folder))

    @contextmanager
    def serving() -> Iterator[tuple[str, Any]]:
        page, pages = serve(lab, ratings, Path(folder) / "example.json")
        try:
            yield str(page.local_url), pages
        finally:
            pages.close()
            page.close(verbose=False)

    told: dict[str, Any] = {}
    with closing(Ratings.opened(lab.session())) as ratings:
        with serving() as (address, pages):
            told["come and gone"] = come_and_gone(address, pages, lab, families_file)
            told["at once"] = at_once(address, pages)
            open_ones = [page.blocks for page in pages._pages.values()]
            pages.close()
            told["closed"] = [len(open_ones), len(pages._pages), sum(each.is_running for each in open_ones)]
        os.environ["GRADIO_ROOT_PATH"] = "/lab"
        with serving() as (address, _):
            told["root"] = below_a_root(address)
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
