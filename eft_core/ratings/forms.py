"""The forms of an export, and what may be wished for with each; light, so that a command line can name them."""

from dataclasses import dataclass

# What each form is for, as people are told.
FORMS = {
    "jsonl": "everything with its history, to import again",
    "csv": "a row a judgement, for spreadsheets",
    "parquet": "a row a judgement, for programs",
    "preference": "prompt, chosen, rejected, for TRL's DPO",
    "unpaired": "prompt, completion, label, for TRL's KTO",
    "reward": "prompt, chosen, rejected, margin, for TRL's reward trainer",
    "comparator": "two policies side by side, for LLM Comparator",
}
TRAINING = ("preference", "unpaired", "reward")


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a form is made.

    conversational: messages in the stead of texts. majority: one row for what most raters say (`trl`). pair: the labels
    of the two policies of a comparator file, A first. not_blind: with judgements whose raters may have known whose
    answers they were.
    """

    conversational: bool = False
    majority: bool = False
    pair: tuple[str, str] | None = None
    not_blind: bool = False

    def check(self, form: str) -> None:
        """ValueError if there is no such form, or if it knows no such wish."""
        if form not in FORMS:
            raise ValueError(f"{form[:40]!r} is no form of export: use {', '.join(FORMS)}.")
        forms = {
            "conversational": TRAINING,
            "majority": TRAINING,
            "pair": ("comparator",),
            "not_blind": (*TRAINING, "comparator"),
        }
        for name, meant in forms.items():
            if getattr(self, name) and form not in meant:
                raise ValueError(f"{name.replace('_', '-')} is for {', '.join(meant)}: leave it out for {form}.")
