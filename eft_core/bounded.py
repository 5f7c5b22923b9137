"""Chat templates within bounds: what one may do at most, before it runs and while it does.

A template is a program of somebody else's. Jinja's sandbox keeps it from files and from the process, and each of its
ranges short, but not from running for ever or making texts that fill the memory: ranges nest, and texts multiply. Here
its code is looked at first, and then every line that it runs is counted.
"""

import re
import sys
from collections.abc import Callable
from functools import lru_cache
from types import FrameType
from typing import Any

import jinja2
from jinja2 import nodes

MOST_STEPS = 100_000  # lines of a template's code; the longest known ones need some thousands
MOST_TEXT = 200_000  # characters of one of its texts, or elements of a list
MOST_FACTOR = 100  # of a text or a list
MOST_WIDTH = 10_000  # asked of a filter or a function
# A width inside of a format, for % and str.format.
_WIDE = re.compile(r"%[-+ #0.]*[0-9]{5}|\{[^{}]{0,40}:[^{}]{0,40}[0-9]{5}")


class Unbounded(Exception):
    """A template that does more than it may. Not a ValueError: the words around it are the caller's."""


@lru_cache(maxsize=64)  # every prompt is put into one of a few, and looking takes longer than putting
def check(template: str) -> None:
    """`Unbounded` for a template in which one step could take all memory. What is no template says so when it runs."""
    try:
        tree = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(template)
    except (jinja2.TemplateError, RecursionError):
        return
    if next(tree.find_all(nodes.Pow), None) is not None:
        raise Unbounded("it has a power")
    for product in tree.find_all(nodes.Mul):
        sides = (product.left, product.right)
        factors = [each.value for each in sides if isinstance(each, nodes.Const) and not isinstance(each.value, str)]
        small = any(_small(each, MOST_FACTOR) for each in factors)
        if not small or any(next(each.find_all(nodes.Mul), None) or isinstance(each, nodes.Mul) for each in sides):
            raise Unbounded(f"it multiplies by more than {MOST_FACTOR}")
    called: list[nodes.Filter | nodes.Call] = [*tree.find_all(nodes.Filter), *tree.find_all(nodes.Call)]
    for each in called:
        given = [*(each.args or ()), *(pair.value for pair in each.kwargs or ())]
        if not all(_small(one.value, MOST_WIDTH) for one in given if isinstance(one, nodes.Const)):
            raise Unbounded(f"it asks for more than {MOST_WIDTH:,}")
    if any(isinstance(one.value, str) and _WIDE.search(one.value) for one in tree.find_all(nodes.Const)):
        raise Unbounded("it asks for a wide format")


def within(render: Callable[[], str]) -> str:
    """What `render` makes of a template, on this thread; `Unbounded` as soon as it takes too many steps."""
    steps, told = 0, 0

    def step(frame: FrameType, event: str, given: Any) -> Any:
        nonlocal steps, told
        steps += 1
        told += len(given) if event == "return" and isinstance(given, str) else 0  # a yield is one too
        if steps > MOST_STEPS:
            raise Unbounded(f"it takes more than {MOST_STEPS:,} steps")
        if told > MOST_TEXT or (event == "line" and any(_long(value) for value in frame.f_locals.values())):
            raise Unbounded(f"it makes a text of more than {MOST_TEXT:,} characters")
        return step

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        return step if frame.f_code.co_filename == "<template>" else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        return render()
    finally:
        sys.settrace(before)


def _small(value: object, most: int) -> bool:
    return not isinstance(value, int | float) or abs(value) <= most


def _long(value: object) -> bool:
    """Whether a variable of a template is too long; a namespace keeps its own."""
    if isinstance(value, str | list | tuple):
        return len(value) > MOST_TEXT
    if isinstance(value, jinja2.utils.Namespace):
        kept: dict[str, Any] = object.__getattribute__(value, "_Namespace__attrs")
        return any(_long(each) for each in kept.values())
    return False
