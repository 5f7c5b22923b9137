"""A campaign's prompts, from a file of its organiser; those with two known answers are gold items."""

from dataclasses import dataclass
from pathlib import Path

from eft_core.ratings.judgement import text_of
from eft_core.schema import generations
from eft_core.software import SOFTWARE
from eft_core.storage import Writer
from eft_core.tables import rows_of

MOST_PROMPTS = 5000
MOST_PROMPT = 8000  # characters
_MOST_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked. With `better` and `worse`, two answers written beforehand, it is a gold item."""

    name: str
    prompt: str
    better: str = ""
    worse: str = ""

    def __post_init__(self) -> None:
        for part, most in (("name", 200), ("prompt", MOST_PROMPT), ("better", MOST_PROMPT), ("worse", MOST_PROMPT)):
            text_of(part, getattr(self, part), most)
        if not self.prompt.strip():
            raise ValueError("the prompt is empty.")
        if bool(self.better.strip()) != bool(self.worse.strip()) or (self.better and self.better == self.worse):
            raise ValueError("a gold item needs two answers that differ, better and worse; leave both out otherwise.")

    @property
    def gold(self) -> dict[str, str] | None:
        return {"better": self.better, "worse": self.worse} if self.better else None


def prompts_of(file: Path) -> tuple[Prompt, ...]:
    """Prompts of a .csv or .jsonl with a column `prompt`, and perhaps id, better, worse. ValueError names the line."""
    found: list[Prompt] = []
    for line, row in rows_of(file, _MOST_BYTES, ("prompt",)):
        try:
            given = [row.get(part) for part in ("id", "prompt", "better", "worse")]
            name, *texts = ["" if each is None else each for each in given]
            found.append(Prompt(f"{name}" if isinstance(name, int | str) and name != "" else f"line {line}", *texts))
        except ValueError as error:
            raise ValueError(f"line {line} of {file.name}: {error}") from error
        if len(found) > MOST_PROMPTS:
            raise ValueError(f"{file.name} has more than {MOST_PROMPTS:,} prompts: split it.")
    if not found:
        raise ValueError(f"{file.name} has no prompts: give each its own line.")
    return tuple(found)


def write_gold(writer: Writer, item: str, family: str, prompt: Prompt) -> None:
    """The two answers of a gold item: known ones, that no policy gave."""
    for place, (label, text) in enumerate((("better", prompt.better), ("worse", prompt.worse))):
        writer.insert(
            generations,
            item=item,
            place=place,
            label=label,
            family=family,
            text=text,
            software=SOFTWARE,
            revisions={},
            token_ids=[],
            tokens=0,
            statistics={},
            reason="end",
            state="ready",
            message="",
        )
