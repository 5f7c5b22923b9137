"""The command line: `python -m eft_core ask`, `compare`, `sweep`, `inspect`, `failures`, `families`, `vocabulary`,
`download`, `convert`, and those of ratings.

Answers go to standard output, everything else to standard error. A user's mistake is one line and exit status 2.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from eft_core import converting, doctoring, downloading, listing, looking, sweep
from eft_core.config import Limits, Request, Rule, Sampling
from eft_core.conversation_options import add_conversation, conversation_values, turns_of
from eft_core.document import document, ids_of
from eft_core.events import Answer, Done, Loading, Queued, RowFinished, Started, Timing, TokensDrawn
from eft_core.families import family_named
from eft_core.family import Family, default_columns
from eft_core.policy import Policy
from eft_core.policy_options import add_policy, policy_of
from eft_core.ratings import commands as judgements
from eft_core.settings import Settings
from eft_core.speculation_options import (
    draft_length,
    drafting_values,
    gain_values,
    said_of,
    speculation,
    speculation_values,
)
from eft_core.token_text import TokenTexts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options, Settings.from_environment())
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has gone, as `head` does; nor is anything to be written at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m eft_core", description=str(__doc__).split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="command")
    ask = commands.add_parser("ask", help="answer one prompt with one policy")
    ask.set_defaults(run=_ask)
    add_policy(ask, finetune="none, the plain base model")
    ask.add_argument("--json", action="store_true", help="print one JSON object instead of streaming text")
    compare = commands.add_parser("compare", help="answer one prompt with the family's default columns, as JSON")
    compare.set_defaults(run=_compare)
    compare.add_argument("--json", metavar="FILE", type=Path, help="write here instead of standard output")
    for command in (ask, compare):
        _add_common(command)
    sweeping = sweep.add_command(commands)
    sweeping.set_defaults(run=sweep.sweep)
    add_policy(sweeping, finetune="none, the plain base model")
    for command in looking.add_commands(commands):
        command.set_defaults(run=_look)
        add_policy(command, finetune="the family's")
    for module in (listing, doctoring, downloading, converting):
        module.add_commands(commands)
    judgements.add_commands(commands)
    return parser


def _add_common(command: argparse.ArgumentParser) -> None:
    """The prompt, and the options of sampling, limits and speculation."""
    command.add_argument("prompt")
    add_conversation(command)
    command.add_argument("--family", help="default: EFT_FAMILY, or atlas")
    command.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    command.add_argument("--top-k", type=int)
    command.add_argument("--top-p", type=float)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--max-new-tokens", type=int, default=80)
    command.add_argument("--stop", metavar="TEXT", action="append", default=[], help="may be repeated")
    command.add_argument(
        "--speculate",
        metavar="off|adaptive|K",
        nargs="?",
        const="adaptive",
        default="off",
        type=_way,
        help="draft tokens with the small models: K a cycle, or as many as pay (adaptive; also meant where no value "
        "follows). Default: off",
    )
    rules = "block (default) and token keep the law of plain decoding, noise keeps even its text for a seed"
    command.add_argument("--rule", choices=get_args(Rule), help=rules)
    command.add_argument("--drafter", metavar="MEMBER", help="such as tuned[helpful][small] (default: each row's own)")
    command.add_argument("--record", action="store_true", help="what each token was drawn from, as `trace` in the JSON")
    command.add_argument("--timed", action="store_true", help="decode plainly first, unseen, to measure the gain")


def _way(text: str) -> str:
    """--speculate as it is written. Read here, so that a prompt taken for its value is said to be one."""
    try:
        if text != "off":
            draft_length(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} The prompt comes before --speculate.") from error
    return text


def _ask(options: argparse.Namespace, settings: Settings) -> None:
    """One policy: its text as it comes, or one JSON object."""
    family = family_named(options.family or settings.family, *settings.families_files)
    policy = policy_of(options, family)
    family.check(policy)
    if options.record and not options.json:
        raise ValueError("--record adds to the JSON object: add --json, or leave it out.")
    request = _request(options, [policy], family)
    done, texts = _run(request, options, settings, show=not options.json)
    [answer] = done.answers
    if answer.reason == "failed":
        raise ValueError(answer.message)
    if options.json:
        values = _answer(answer, texts)
        if "speculation" in values:
            values["speculation"]["gain"] = gain_values(done.gain)
        print(json.dumps(values, ensure_ascii=False))
        return
    said = [f"{len(answer.token_ids)} tokens", f"{answer.tokens_per_second:.0f} tokens/s", answer.reason]
    print(" · ".join([policy.formula(), *said, *said_of(answer.drafting, done.gain)]), file=sys.stderr)


def _compare(options: argparse.Namespace, settings: Settings) -> None:
    """The default columns side by side, as a JSON document."""
    family = family_named(options.family or settings.family, *settings.families_files)
    columns = default_columns(family)
    request = _request(options, [policy for _, policy in columns], family)
    sampling, limits = request.rows[0].sampling, request.limits
    done, texts = _run(request, options, settings, show=False)
    values = {
        "prompt": options.prompt,
        **conversation_values(request.rows[0]),
        "family": family.name,
        "sampling": {name: getattr(sampling, name) for name in ("temperature", "top_k", "top_p", "seed")},
        "limits": {"max_new_tokens": limits.max_new_tokens, "stop": list(limits.stop)},
        **speculation_values(request.speculation, done.gain),
        "columns": [
            {"label": label, "formula": policy.formula()} | _answer(answer, texts)
            for (label, policy), answer in zip(columns, done.answers, strict=True)
        ],
    }
    # Records are many numbers: a line each would be a long file.
    indent, separators = (None, (",", ":")) if options.record else (2, None)
    looking.write(json.dumps(values, ensure_ascii=False, indent=indent, separators=separators) + "\n", options.json)


def _look(options: argparse.Namespace, settings: Settings) -> None:
    """Read texts under a policy, by default the family's up-scaling; a family that has none is read as it is."""
    family = family_named(options.family or settings.family, *settings.families_files)
    if options.finetune is None and family.behaviours:
        options.finetune = family.default_finetune
    policy = policy_of(options, family)
    family.check(policy)
    options.look(options, settings, family, policy)


def _run(
    request: Request, options: argparse.Namespace, settings: Settings, show: bool
) -> tuple[Done, TokenTexts | None]:
    """The request's end, and texts of its tokens if it kept records; with `show`, the first row's text is printed while
    it is written."""
    from eft_core.session import Session  # torch comes with it; listing families and mistakes do without

    session = Session(settings, options.family)
    print(session.plan(request), file=sys.stderr)  # before anything is loaded
    for event in session.stream(request):
        match event:
            case Queued() | Started():
                pass
            case Loading():
                print(f"loading {event.member} ({event.index} of {event.total})", file=sys.stderr)
            case Timing():
                print("timing plain decoding first", file=sys.stderr)
            case TokensDrawn() if show:
                print(event.text, end="", flush=True)
            case RowFinished() if show:
                print(event.tail, flush=True)
            case Done():
                return event, session.token_texts if request.record else None
    raise AssertionError("a stream ends with Done")


def _request(options: argparse.Namespace, policies: list[Policy], family: Family) -> Request:
    """What the options ask of these policies."""
    sampling = Sampling(options.temperature, options.top_k, options.top_p, options.seed)
    limits = Limits(options.max_new_tokens, tuple(options.stop))
    ways = speculation(options.speculate, options.rule, options.drafter, options.timed, family)
    before = {"system": options.system, "turns": turns_of(options.turn)}
    how = {"speculation": ways, "record": options.record, **before}
    return Request.compare(options.prompt, policies, sampling, limits, **how)


def _answer(answer: Answer, texts: TokenTexts | None) -> dict[str, Any]:
    """An answer as plain values; `speculation` is there if the request speculated, `trace` if it kept records."""
    drafting = {} if answer.drafting is None else {"speculation": drafting_values(answer.drafting)}
    if answer.trace is not None and texts is not None:
        drafting["trace"] = document(answer.trace, texts.of(ids_of(answer.trace)))
    return {
        "policy": answer.policy.to_dict(),
        "text": answer.text,
        "token_ids": list(answer.token_ids),
        "logprobs": list(answer.logprobs),
        "reason": answer.reason,
        "prompt_tokens": answer.prompt_tokens,
        "seconds": answer.seconds,
        "tokens_per_second": answer.tokens_per_second,
        "fates": list(answer.fates),
        **drafting,
    }


if __name__ == "__main__":
    sys.exit(main())
