"""Three public data sets by their ordinary ids on the Hub, or from a user's copy: Anthropic-HH, ELI5 and HumanEval.

(Bai et al. 2022; Fan et al. 2019; Chen et al. 2021: the sets of Mitchell et al. 2023.) Their rows become rows of a
prompt file: id, prompt, kind, reference. Nothing of them is ever executed. Loads no torch.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from eft_core.tables import Row

_TURN = re.compile(r"\n\n(Human|Assistant):")
_FENCED = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class HubSet:
    """`hub_id` is where it is fetched from; "" if the Hub no longer has it. `files` are patterns within it.

    A row of it has `columns`, and only those if `alone`. `rewritten` makes it a row of a prompt file, or None if it is
    left out; the text before the line number tells a file from its neighbours.
    """

    name: str
    title: str
    hub_id: str
    files: tuple[str, ...]
    columns: frozenset[str]
    rewritten: Callable[[Row, Path, int], Row | None]
    alone: bool = False

    def has(self, row: Row) -> bool:
        """Whether the row is one of this set's."""
        return self.columns == row.keys() if self.alone else self.columns <= row.keys()

    def fetched(self) -> Path:
        """The folder of its files, from this machine or else from the Hub; ValueError with the remedy."""
        from huggingface_hub import snapshot_download

        reason = ""
        for offline in (True, False):  # what is here already is not asked for
            try:
                path = snapshot_download(
                    self.hub_id, repo_type="dataset", allow_patterns=list(self.files), local_files_only=offline
                )
            except OSError as error:  # all of the Hub's errors are
                reason = type(error).__name__
                continue
            if self.there(Path(path)):
                return Path(path)
        raise ValueError(
            f"{self.hub_id} is not on this machine and could not be fetched{f' ({reason})' if reason else ''}: "
            f"run `hf download --repo-type dataset {self.hub_id}` once, or give the path of a copy."
        )

    def there(self, folder: Path) -> list[Path]:
        """Its files within a folder of the Hub's layout, in order; none if a pattern finds nothing."""
        found = [sorted(folder.glob(pattern)) for pattern in self.files]
        return [file for files in found for file in files] if all(found) else []


def _dialogue(row: Row, file: Path, line: int) -> Row | None:
    """A dialogue of one question and one answer; what has more turns, or an empty one, is left out."""
    chosen = row["chosen"]
    if not isinstance(chosen, str):
        raise ValueError("chosen is no text: give a file as the Hub has it.")
    before, *turns = _TURN.split(chosen)
    if before.strip() or turns[::2] != ["Human", "Assistant"] or not turns[1].strip():
        return None
    where = f"{file.parent.name}/{file.name}"
    return {
        "id": f"{file.parent.name}/{line}",
        "prompt": turns[1].strip(),
        "kind": "sensitive" if "harmless" in where and "helpful" not in where else "ordinary",
        "reference": turns[3].strip(),
    }


def _thread(row: Row, file: Path, line: int) -> Row:
    """A question with the answer that readers liked best."""
    answers = row["answers"]
    texts, scores = (answers.get(name) if isinstance(answers, dict) else None for name in ("text", "score"))
    if not isinstance(texts, list) or not isinstance(scores, list) or len(texts) != len(scores):
        raise ValueError('answers is not {"text": [...], "score": [...]}: give a file as the Hub had it.')
    if not all(isinstance(score, int | float) for score in scores):
        raise ValueError("a score is no number: give a file as the Hub had it.")
    title, more = row["title"], row.get("selftext") or ""
    if not isinstance(title, str) or not isinstance(more, str):
        raise ValueError("title and selftext must be texts: give a file as the Hub had it.")
    best = max(range(len(texts)), key=lambda number: scores[number], default=None)
    return {
        "id": row["q_id"],
        "prompt": f"{title}\n\n{more}".strip(),
        "reference": "" if best is None else texts[best],
    }


def _pair(row: Row, file: Path, line: int) -> Row | None:
    """A question and an answer to it, unless there is none."""
    if row["question"] in (None, ""):
        return None
    return {"id": f"{line}", "prompt": row["question"], "reference": row["answer"]}


def _programme(row: Row, file: Path, line: int) -> Row:
    """A function to complete, as one asks a chat model for it."""
    code = row["prompt"]
    if not isinstance(code, str) or not code.strip():
        raise ValueError("prompt is missing or empty: give a file as the Hub has it.")
    asked = "Complete this Python function. Answer with the whole function in one code block."
    return {
        "id": row["task_id"],
        "prompt": f"{asked}\n\n```python\n{code.rstrip()}\n```",
        "reference": row.get("canonical_solution"),
    }


ANTHROPIC_HH = HubSet(
    "anthropic-hh",
    "Anthropic-HH",
    "Anthropic/hh-rlhf",
    ("helpful-base/test.jsonl.gz", "harmless-base/test.jsonl.gz"),
    frozenset({"chosen", "rejected"}),
    _dialogue,
)
ELI5 = HubSet(
    "eli5",
    "ELI5",
    "sentence-transformers/eli5",
    ("pair/train-*.parquet",),
    frozenset({"question", "answer"}),
    _pair,
    alone=True,  # a user's own file may have these columns and choices, say
)
# The set's first form, which the Hub no longer has.
ELI5_THREADS = HubSet("eli5-threads", "ELI5", "", (), frozenset({"q_id", "title", "answers"}), _thread)
HUMANEVAL = HubSet(
    "humaneval",
    "HumanEval",
    "openai/openai_humaneval",
    ("openai_humaneval/test-*.parquet",),
    frozenset({"task_id", "prompt", "entry_point"}),
    _programme,
)
HUB_SETS = (ANTHROPIC_HH, ELI5, ELI5_THREADS, HUMANEVAL)


def named(name: str) -> HubSet | None:
    """The set of a name or Hub id, as people write them."""
    for each in HUB_SETS:
        hub_id = each.hub_id.lower()
        if hub_id and name.lower() in (each.name, hub_id, hub_id.split("/")[1]):
            return each
    return None


def of_row(row: Row) -> HubSet | None:
    """The set that a row is of, known by its columns."""
    return next((each for each in HUB_SETS if each.has(row)), None)


# --- what HumanEval's own harness reads


def completions(samples: Iterable[tuple[str, str]]) -> str:
    """JSON lines of `task_id` and `completion` for OpenAI's human-eval, which runs them in a sandbox and tells pass@k.

    `samples`: the key of an item and a model's answer to it. The harness puts the completion behind the problem's own
    code; a function that is told again there takes the first one's place.
    """
    lines = (json.dumps({"task_id": key, "completion": code_of(answer)}) for key, answer in samples)
    return "".join(f"{line}\n" for line in lines)


def code_of(answer: str) -> str:
    """The first code block of an answer, or all of it where there is none."""
    found = _FENCED.search(answer)
    return found.group(1) if found else answer
