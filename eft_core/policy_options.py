"""A policy as the command line writes it: sizes, behaviours with their weights, beta, and the filter."""

import argparse

from eft_core.family import Family
from eft_core.policy import Policy


def add_policy(command: argparse.ArgumentParser, finetune: str) -> None:
    """The options of a policy; `finetune` says what stands for M by default."""
    command.add_argument("--pretrain", metavar="SIZE", help="N: whose pre-training (default: the family's)")
    command.add_argument("--finetune", metavar="SIZE", help=f"M: whose fine-tuning (default: {finetune})")
    command.add_argument("--behaviour", metavar="NAME=WEIGHT", action="append", default=[], help="may be repeated")
    command.add_argument("--beta", "--amplification", type=float, default=1.0, help="weight of the up-scaling delta")
    command.add_argument("--nucleus", type=float, help="p of the conservative filter, such as 0.95 (default: none)")


def policy_of(options: argparse.Namespace, family: Family) -> Policy:
    """The policy that the options describe; fine-tuning without a behaviour takes the family's default one."""
    weights = dict(_weight(text) for text in options.behaviour)
    if len(weights) < len(options.behaviour):
        raise ValueError("each behaviour may be named once: add their weights up.")
    if options.finetune is not None and not weights:
        weights = {family.default_behaviour: 1.0}
    return Policy(
        pretrain=options.pretrain or family.default_pretrain,
        finetune=options.finetune,
        behaviours=weights,
        amplification=options.beta,
        nucleus=options.nucleus,
    )


def _weight(text: str) -> tuple[str, float]:
    name, found, weight = text.partition("=")
    try:
        return name, float(weight) if found else 1.0
    except ValueError as error:
        raise ValueError(f"--behaviour {text} is not NAME=WEIGHT: write for example --behaviour helpful=1.") from error
