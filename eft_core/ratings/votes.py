"""Judgements as statistics read them: one row a comparison that somebody judged, undone and superseded ones left out.

`records` makes them from the database; the statistics know nothing of it.
"""

from dataclasses import dataclass

import pandas as pd

# Columns of `Votes.table`, and how pandas keeps them.
COLUMNS = {
    "rating": "str",
    "comparison": "str",
    "campaign": "str",
    "item": "str",
    "item_name": "str",  # the organiser's, from the file of prompts
    "annotator": "str",
    "kind": "str",  # ordinary, repeat (of an ordinary one, sides swapped), gold
    "blind": "bool",  # False: the rater may have seen whose answer is whose
    "verdict": "str",  # as it was shown: left, right, both_good, both_bad, unsure (can't judge)
    "outcome": "str",  # as it is meant: first, second, both_good, both_bad, unsure
    "strength": "float64",  # 1 slightly, 2 clearly; nan: not asked
    "first": "str",  # key of a policy in `Votes.policies`; of a gold item "", its first answer is the better one
    "second": "str",
    "first_tokens": "float64",  # lengths of the answers
    "second_tokens": "float64",
    "first_helpfulness": "float64",  # 1 to 5; nan: not asked
    "first_factuality": "float64",
    "first_harmlessness": "float64",
    "second_helpfulness": "float64",
    "second_factuality": "float64",
    "second_harmlessness": "float64",
    "seconds": "float64",  # from both answers shown to the judgement
    "created": "datetime64[us, UTC]",
    "excluded": "bool",  # an organiser took the annotator's votes out, with a reason
}

# Columns of `Votes.policies`, whose index is the key.
POLICY_COLUMNS = {
    "label": "str",  # the organiser's, or the formula
    "formula": "str",
    "family": "str",
    "pretrain": "str",  # N
    "finetune": "str",  # M, "" for a plain base
    "behaviours": "str",  # such as "helpful" or "harmless, helpful"; "" for a plain base
    "weights": "str",  # lambda, such as "1" or "0.3, 0.7"
    "amplification": "float64",
    "nucleus": "float64",  # nan: no filter
}


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """Judgements and the policies they are about; `COLUMNS` and `POLICY_COLUMNS` say what is in the two tables."""

    table: pd.DataFrame
    policies: pd.DataFrame

    @classmethod
    def empty(cls) -> "Votes":
        table = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})
        policies = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in POLICY_COLUMNS.items()})
        return cls(table, policies.rename_axis("key"))

    def __len__(self) -> int:
        return len(self.table)
