"""A sweep as a readable address, and back: `?sweep=1&prompt=...&column=large:small:helpful=1:beta=1&axis=beta=0:2:0.5`.

Pure functions. Prompt, column, temperature, seed and length are those of a comparison's link; `questions` stands for so
many Atlas questions in the prompt's stead. A sweep over a visitor's own file has no address.
"""

import itertools
from collections.abc import Iterable
from urllib.parse import quote, urlencode

from components import links
from components.inputs import Decoding
from components.sweeps import ATLAS, LEAST_QUESTIONS, MAX_QUESTIONS, MAX_SAMPLES, Sweep
from eft_core.family import Family
from eft_core.grid import Axis, Grid, told

_OF_COMPARE = ("prompt", "column", "temperature", "seed", "length")


def encode(sweep: Sweep) -> str:
    """The query string with its question mark, or "" for a sweep that no address can say."""
    sampling = sweep.grid.sampling
    if sweep.items or sampling.top_k is not None or sampling.top_p is not None:
        return ""
    link = links.Link(sweep.prompt, (("", sweep.grid.policy),), Decoding(sampling, sweep.limits))
    pairs = [("questions", str(sweep.questions))] if sweep.questions else []
    pairs += [("axis", written(axis)) for axis in sweep.grid.axes] + [("samples", str(sweep.samples))]
    shared = links.encode(link).removeprefix("?").removeprefix("prompt=&")
    query = f"?sweep=1&{shared}&{urlencode(pairs, quote_via=quote, safe=':=,/')}"
    return query if shared and len(query) <= links.MAX_LINK else ""


def decode(items: Iterable[tuple[str, str]], family: Family) -> Sweep | None:
    """The sweep of an address, None if the address holds none; ValueError if it is wrong in any part."""
    given = list(items)
    if ("sweep", "1") not in given:
        return None
    link = links.decode([pair for pair in given if pair[0] in _OF_COMPARE], family)
    if link is None or len(link.columns) != 1:
        raise ValueError("the link's sweep needs one column: copy the whole link.")
    questions, samples = (_count(given, name, default) for name, default in (("questions", 0), ("samples", 1)))
    if bool(questions) == bool(link.prompt):
        raise ValueError("the link's sweep needs a prompt or a number of questions: copy the whole link.")
    axes = tuple(Axis.parse(value) for name, value in given if name == "axis")
    grid = Grid(link.columns[0][1], link.decoding.sampling, axes)
    return Sweep(
        grid, link.prompt, check_questions(questions, family), (), link.decoding.limits, check_samples(samples)
    )


def check_questions(count: int, family: Family) -> int:
    """How many Atlas questions, 0 for none."""
    if count and family.name != ATLAS:
        raise ValueError("the Atlas questions are for the family atlas: take a prompt of your own.")
    if count and not LEAST_QUESTIONS <= count <= MAX_QUESTIONS:
        raise ValueError(f"{count} questions are not {LEAST_QUESTIONS} to {MAX_QUESTIONS}: take that many.")
    return count


def check_samples(count: int) -> int:
    """How many answers a prompt."""
    if not 1 <= count <= MAX_SAMPLES:
        raise ValueError(f"{count} answers a prompt are not 1 to {MAX_SAMPLES}: draw that many.")
    return count


def written(axis: Axis) -> str:
    """An axis as short as it can be written: evenly spaced values as low:high:step."""
    numbers = [value for value in axis.values if isinstance(value, int | float)]
    steps = {round(after - before, 9) for before, after in itertools.pairwise(numbers)}
    if len(numbers) == len(axis.values) > 2 and len(steps) == 1 and min(steps) > 0:
        short = f"{axis.key}={told(numbers[0])}:{told(numbers[-1])}:{told(steps.pop())}"
        if Axis.parse(short) == axis:
            return short
    return str(axis)


def _count(items: Iterable[tuple[str, str]], name: str, default: int) -> int:
    """A whole number of the address. Long digit strings are refused before int() spends time on them."""
    found = [value for key, value in items if key == name]
    if len(found) > 1:
        raise ValueError(f"the link names {name} twice: remove one of them.")
    if not found:
        return default
    if not (found[0].isascii() and found[0].isdigit() and len(found[0]) <= 6):
        raise ValueError(f"the link's {name} = {found[0][:40]!r} is not a whole number: correct the address.")
    return int(found[0])
