"""The command line's two ways to look at a text token by token: `inspect` one, or list the `failures` of a mixture.

Results go to standard output, progress to standard error. What texts and models wrote reaches a terminal through
`repr`, so none of it can steer the terminal. `__main__` registers the commands and reads the policy; torch is loaded
only when a command runs.
"""

import argparse
import json
import math
import sys
from collections.abc import Collection, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from eft_core import document
from eft_core.cases import MOST_CASES, Case, atlas_cases, read_cases
from eft_core.config import Text
from eft_core.conversation_options import add_conversation, conversation_values, transcript, turns_of
from eft_core.events import Inspected, Inspecting, Loading, Reading
from eft_core.failures import Failure, Report, examined
from eft_core.family import Family
from eft_core.policy import Policy
from eft_core.settings import Settings
from eft_core.standalone import page
from eft_core.token_text import TokenTexts
from eft_core.trace import Trace

if TYPE_CHECKING:
    from eft_core.session import Session

SCHEMA = "eft-lab/failures/1"
# Failures that a table for people shows.
_SHOWN = 20
Result = TypeVar("Result")


def add_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Register `inspect` and `failures` among the sub-commands; `look` of their options runs them."""
    inspecting = commands.add_parser("inspect", help="read a response under a policy, token by token")
    inspecting.set_defaults(look=inspect)
    inspecting.add_argument("--prompt", required=True)
    add_conversation(inspecting)
    inspecting.add_argument("--response", required=True, help="the text to look at; - reads standard input")
    inspecting.add_argument("--html", metavar="FILE", type=Path, help="write the token strip as one stand-alone page")
    failing = commands.add_parser("failures", help="where the large base is right and the mixture wrong, or reversed")
    failing.set_defaults(look=failures)
    source = failing.add_mutually_exclusive_group()
    about = f"so many questions about the World Factbook, 1 to {MOST_CASES:,} (default: 50)"
    source.add_argument("--items", metavar="N", type=int, default=50, help=about)
    columns = "your own cases: .jsonl or .csv with prompt, response, and fact (optional, a part of the response)"
    source.add_argument("--cases", metavar="FILE", type=Path, help=columns)
    for command in (inspecting, failing):
        command.add_argument("--family", help="default: EFT_FAMILY, or atlas")
        command.add_argument(
            "--json", metavar="FILE", nargs="?", const="-", help="one JSON object, to FILE or standard output"
        )
    return [inspecting, failing]


def inspect(options: argparse.Namespace, settings: Settings, family: Family, policy: Policy) -> None:
    """One text: a table of its tokens, a JSON document, a page."""
    text = Text(options.prompt, _response(options.response), policy, options.system, turns_of(options.turn))
    session = _session(settings, family)
    trace = _read(session, text)
    about = {"family": family.name, "prompt": text.prompt, **conversation_values(text), "response": text.response}
    told = document.document(trace, session.token_texts.of(document.ids_of(trace)), **about)
    told["summary"] = document.summary(trace)
    if options.html is not None:
        labelled = told | {"label": policy.formula(), "role": _role(policy)}
        write(page([labelled], title=policy.formula(), prompt=transcript(text)), options.html)
    if options.json is not None:
        write(_json(told), _file(options.json))
    elif options.html is None:
        print("\n".join([*token_table(trace, session.token_texts), document.summary_line(told["summary"])]))


def failures(options: argparse.Namespace, settings: Settings, family: Family, policy: Policy) -> None:
    """Many references: a table of what lost most, or a JSON document."""
    cases = atlas_cases(options.items) if options.cases is None else read_cases(options.cases)
    session = _session(settings, family)
    report = _told(examined(session, cases, policy))
    if options.json is not None:
        write(_json(failures_document(report, family.name, session.token_texts)), _file(options.json))
        return
    print("\n".join([policy.formula(), *count_lines(report), *failure_table(report, session.token_texts)]))


def failures_document(report: Report, family: str, texts: TokenTexts) -> dict[str, Any]:
    """A report as plain values for JSON: facts first, then what lost most; nats."""
    return {
        "schema": SCHEMA,
        "family": family,
        "policy": report.policy.to_dict(),
        "formula": report.policy.formula(),
        "tokens": report.tokens,
        "counts": {kind: count._asdict() for kind, count in report.counts.items()},
        "failures": [_failure_values(each, report.cases[each.case], texts) for each in report.failures],
    }


def _failure_values(failure: Failure, case: Case, texts: TokenTexts) -> dict[str, Any]:
    named = {name: texts.text(getattr(failure, name)) for name in ("token", "policy_best", "base_best")}
    return {
        "prompt": case.prompt,
        "response": case.response,
        "index": failure.index,
        "kind": failure.kind,
        "right": _right(failure),
        **named,
        "logprob": {"policy": round(failure.logprob_policy, 5), "base": round(failure.logprob_base, 5)},
        "total_variation": round(failure.total_variation, 5),
    }


# --- for people


def token_table(trace: Trace, texts: TokenTexts) -> list[str]:
    """A line a token: log-probability under the policy and each member, both deltas, TV from the small policy, rank."""
    head = ["token", "policy", *map(str, trace.members), "fine-tuning", "up-scaling", "TV", "rank"]
    measures = zip(
        trace.tokens.tolist(),
        trace.logprobs.tolist(),
        trace.finetuning.tolist(),
        trace.upscaling.tolist(),
        trace.total_variation[:, 0].tolist(),
        trace.ranks[:, 0].tolist(),
        strict=True,
    )
    rows = [
        [
            repr(texts.text(token)),
            *map(_nats, logprobs),
            *(_nats(delta, "+") for delta in (finetuning, upscaling)),
            _nats(moved),
            str(rank),
        ]
        for token, logprobs, finetuning, upscaling, moved, rank in measures
    ]
    return _aligned([head, *rows], left=(0,))


def count_lines(report: Report) -> list[str]:
    """How often each law is right, a line a kind of token."""
    return [
        f"{kind}: {count.tokens:,} tokens, both right at {count.both:,}, "
        f"only base({report.policy.pretrain}) at {count.base:,}, only the mixture at {count.mixture:,}"
        for kind, count in report.counts.items()
    ]


def failure_table(report: Report, texts: TokenTexts) -> list[str]:
    """The first failures, a line each."""
    rows = [
        [
            each.kind,
            _right(each),
            *(repr(texts.text(token)) for token in (each.token, each.policy_best, each.base_best)),
            _nats(each.lost, "+"),
            _nats(each.total_variation),
            repr(report.cases[each.case].prompt[:60]),
        ]
        for each in report.failures[:_SHOWN]
    ]
    head = ["kind", "right", "reference", "mixture says", "base says", "lost", "TV", "prompt"]
    more = len(report.failures) - len(rows)
    return [
        *_aligned([head, *rows], left=(0, 1, 2, 3, 4, 7)),
        *([f"and {more:,} more: --json lists all"] if more else []),
    ]


def _aligned(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """Lines of columns: those of texts, `left`, begin alike, and those of numbers end alike."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _nats(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.3f}"


def _right(failure: Failure) -> str:
    return "base" if failure.base_right else "mixture"


def _role(policy: Policy) -> str:
    """The colour of the page's column."""
    if policy.finetune is None:
        return "base"
    return "tuned" if policy.finetune == policy.pretrain else "emulated"


# --- in and out


def _response(given: str) -> str:
    """The text to look at; from standard input, less the end of the last line, which the shell puts there."""
    if given != "-":
        return given
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise ValueError("standard input is not UTF-8: convert the text.") from error


def _session(settings: Settings, family: Family) -> "Session":
    from eft_core.session import Session  # torch comes with it; mistakes are told without

    return Session(settings, family.name)


def _read(session: "Session", text: Text) -> Trace:
    """The records of one text."""

    def read() -> Generator[Inspecting, None, Trace]:
        for event in session.inspect([text]):
            if isinstance(event, Inspected):
                return event.traces[0]
            yield event
        raise AssertionError("an inspection ends with Inspected")

    return _told(read())


def _told(steps: Generator[Inspecting, None, Result]) -> Result:
    """The result of `steps`; on the way, standard error says what they do."""
    while True:
        try:
            event = next(steps)
        except StopIteration as ended:
            return ended.value
        if isinstance(event, Loading):
            print(f"loading {event.member} ({event.index} of {event.total})", file=sys.stderr)
        elif isinstance(event, Reading) and event.done < event.total:
            print(f"read {event.done:,} of {event.total:,} tokens", file=sys.stderr)


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


def _file(name: str) -> Path | None:
    return None if name == "-" else Path(name)


def write(text: str, file: Path | None) -> None:
    """To a file, or to standard output; ValueError if it cannot be written."""
    if file is None:
        print(text, end="")
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{file} cannot be written: {error.strerror}.") from error
