"""`amplification`: the up-scaling delta scaled by beta, 0 to 2.

(Mitchell et al. 2023, section 4.4: on HumanEval more helps, on ELI5 it buys facts and pays with helpfulness.)
"""

from eft_core.experiments.paired import paired
from eft_core.experiments.study import (
    Arm,
    Experiment,
    Finding,
    Graded,
    Options,
    Read,
    behaviour_of,
    labels_of,
    pair_of,
)
from eft_core.family import Family
from eft_core.intervals import difference
from eft_core.policy import Member, amplify, tuned

BETAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.2, 1.5, 1.75, 2.0)


def arms(family: Family, options: Options) -> tuple[Arm, ...]:
    """Every beta; then the large tuned model, if there is one, as what is emulated."""
    behaviour, (large, small) = behaviour_of(family, options), pair_of(family, options)
    policies = [(amplify(large, small, behaviour, beta), beta) for beta in BETAS]
    found = [Arm(policy, labels_of(policy, behaviour) | {"beta": beta}, behaviour) for policy, beta in policies]
    if Member(large, behaviour) in family.checkpoints:
        policy = tuned(behaviour, large)
        found.append(Arm(policy, labels_of(policy, behaviour) | {"beta": None}, behaviour))
    return tuple(found)


def read(graded: Graded) -> Read:
    """Rows, every beta against beta = 1, and whether more than 1 buys anything."""
    usual = graded.arm(beta=1.0)
    assert usual is not None, "beta 1 is among the arms"
    found = []
    for column in graded.columns:
        more = {beta: difference(graded.of(_arm(graded, beta), column), graded.of(usual, column))
                for beta in BETAS if beta > 1}  # fmt: skip
        best = max(more, key=lambda beta: more[beta].value)
        claim = f"{column.name}: of beta above 1, {best:g} does best, {more[best]} against beta = 1"
        found.append(Finding(claim, None))
    return Read(graded.rows(), found, {"Against beta = 1": paired(graded, usual, "beta")})


def _arm(graded: Graded, beta: float) -> int:
    number = graded.arm(beta=beta)
    assert number is not None, "every beta is an arm"
    return number


AMPLIFICATION = Experiment(
    name="amplification",
    title="Amplification",
    question="The up-scaling delta scaled by beta: 0 is the small policy, 1 the paper's formula. Does more help?",
    arms=arms,
    read=read,
    items=300,
    temperature=1.0,
)
