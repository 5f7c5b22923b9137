"""Prompt sets: files of every kind and schema give the same items, cuts nest, mistakes are told with their remedy."""

import csv
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from eft_core import prompt_sets
from eft_core.atlas.facts import load_split
from eft_core.hub_sets import code_of, completions
from eft_core.items import Item, PromptSet, cut
from eft_core.prompt_sets import atlas_questions, instructions, prompt_set, read_prompts, typed
from eft_core.tables import rows_of


def written(file: Path, content: str | bytes) -> Path:
    """A file of this content; packed, if its name says so."""
    raw = content.encode() if isinstance(content, str) else content
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(raw) if file.suffix == ".gz" else raw)
    return file


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(*rows: dict[str, Any]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


# --- a user's own file

ASKED = "Which city is\u2028the capital, of Kenya?"
OWN = (
    Item("k1", ASKED, answers=("Nairobi", "Nairobi City")),
    Item("7", "Pick one.\n\nA. Lima\nB. Oslo", answers=("B",), choices=("Lima", "Oslo")),
    Item("line 4", "How do I pick a lock?", "sensitive", reference='I would "rather" not.'),
)
LISTS: list[dict[str, Any]] = [
    {"id": "k1", "prompt": ASKED, "answers": ["Nairobi", "Nairobi City"], "unknown": {"x": [1]}},
    {"id": 7, "prompt": "Pick one.", "choices": ["Lima", "Oslo"], "answer": "Oslo", "kind": "ordinary"},
    {"prompt": OWN[2].prompt, "kind": "sensitive", "answer": None, "reference": OWN[2].reference},
]
NAMES = ("id", "prompt", "answers", "answer", "choices", "kind", "reference")
TEXTS: list[dict[str, str]] = [
    dict(zip(NAMES, ("k1", ASKED, "Nairobi | Nairobi City", "", "", "", ""), strict=True)),
    dict(zip(NAMES, ("7", "Pick one.", "", "B", '["Lima", "Oslo"]', "", ""), strict=True)),
    dict(zip(NAMES, ("", OWN[2].prompt, "", "", "", "sensitive", OWN[2].reference), strict=True)),
]


@pytest.mark.parametrize("name", ["own.jsonl", "own.JSONL", "own.jsonl.gz", "own.csv", "own.csv.gz"])
def test_every_kind_of_file_gives_the_same_items(tmp_path: Path, name: str) -> None:
    lists = "\n" + jsonl(*LISTS)  # a blank line, so that the third prompt stands in line 4 of both
    file = written(tmp_path / name, table(*TEXTS) if "csv" in name else lists)
    found = read_prompts(file)
    assert found.items == OWN
    assert (found.name, found.source, len(found)) == (name, f"the file {name}", 3)
    assert set(prompt_set(str(file), 3).items) == set(OWN)


def test_a_spreadsheets_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert read_prompts(written(tmp_path / "x.csv", b"\xef\xbb\xbfprompt\r\nHello?\r\n")).items[0].prompt == "Hello?"


@pytest.mark.parametrize("kind", ["own", "humaneval", "eli5", "pairs"])
def test_parquet_gives_the_same_items_as_json_lines(tmp_path: Path, kind: str) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    own = [{"id": str(number), "prompt": f"{number}?", "answers": ["a", "b"]} for number in range(3000)]
    sets: dict[str, list[dict[str, Any]]] = {"own": own, "humaneval": PROGRAMMES, "eli5": THREADS, "pairs": PAIRS}
    rows = sets[kind]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    assert read_prompts(tmp_path / "x.parquet").items == read_prompts(written(tmp_path / "x.jsonl", jsonl(*rows))).items


def test_a_broken_parquet_file_and_one_that_is_too_large_are_told(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read_prompts(written(tmp_path / "x.parquet", b"PAR1 no more"))
    parquet.write_table(pyarrow.Table.from_pylist([{"prompt": "a" * 3_000_000}]), tmp_path / "y.parquet")
    with pytest.raises(ValueError, match="larger than 2 MB: split it"):
        list(rows_of(tmp_path / "y.parquet", 2_000_000))


def test_parquet_without_pyarrow_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if it were not installed
    with pytest.raises(ValueError, match=r"`pip install pyarrow`, or give a .jsonl copy"):
        read_prompts(written(tmp_path / "x.parquet", b""))


CHOICES = '{"prompt": "a", "choices": ["b", "c"], '


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", "a", "neither .jsonl nor .csv nor .parquet"),
        ("x.gz", "a", "neither .jsonl nor .csv nor .parquet"),
        ("x.jsonl", "", "has no prompts"),
        ("x.csv", "prompt\n", "has no prompts"),
        ("x.csv", "", "has no prompts"),
        ("x.csv", "text\nhello\n", "line 2 of x.csv: prompt is missing"),
        ("x.csv", "prompt\na,b\n", "line 2 has more fields"),
        ("x.csv", 'prompt\n"a', "check its quotes"),
        ("x.jsonl", '{"prompt": "a"}\n[1]', "line 2 is no JSON object"),
        ("x.jsonl", '{"prompt": ' + "[" * 100_000, "line 1 is no JSON object"),
        ("x.jsonl", '{"id": ' + "9" * 5000 + "}", "line 1 is no JSON object"),
        ("x.jsonl", '{"question": "a"}', "line 1 of x.jsonl: prompt is missing"),
        ("x.jsonl", '{"prompt": 5}', "prompt is missing, empty or no text"),
        ("x.jsonl", '{"prompt": " "}', "prompt is missing, empty or no text"),
        ("x.jsonl", '{"prompt": "\\ud800"}', "prompt holds half a character"),
        ("x.jsonl", '{"prompt": "a", "reference": "\\udfff"}', "reference holds half a character"),
        ("x.jsonl", '{"prompt": "a", "answers": ["b", "\\udfff"]}', "answers holds half a character"),
        ("x.jsonl", '{"prompt": "a", "reference": ["b"]}', "reference is missing, empty or no text"),
        ("x.jsonl", '{"prompt": "a", "answer": 5}', "answers is missing, empty or no text"),
        ("x.jsonl", '{"prompt": "a", "answer": 0}', "answers is missing, empty or no text"),
        ("x.jsonl", '{"prompt": "a", "answers": ["b", {}]}', "answers is missing, empty or no text"),
        ("x.jsonl", '{"prompt": "a", "answers": {"b": 1}}', "answers is no list"),
        ("x.jsonl", '{"prompt": "a", "answers": "[broken"}', "answers is no list"),
        ("x.jsonl", '{"prompt": "a", "answers": "' + "[" * 100_000 + '"}', "answers is no list"),
        ("x.jsonl", '{"prompt": "a", "kind": "harmful"}', "kind is 'harmful': write ordinary or sensitive"),
        ("x.jsonl", '{"prompt": "a", "kind": ["sensitive"]}', "write ordinary or sensitive"),
        ("x.jsonl", '{"prompt": "a", "id": {}}', "id is missing, empty or no text"),
        ("x.jsonl", '{"prompt": "a", "id": 1}\n{"prompt": "b", "id": "1"}', "has the id '1' twice"),
        ("x.jsonl", '{"prompt": "a", "choices": ["b"]}', "there are 1 choices: give 2 to 26"),
        ("x.jsonl", '{"prompt": "a", "choices": ["b", ["c"]], "answer": "b"}', "choices is missing, empty or no text"),
        ("x.jsonl", '{"prompt": "a", "choices": ["b", "B "]}', "two choices are the same"),
        ("x.jsonl", CHOICES + '"answer": "C"}', "write one letter of AB"),
        ("x.jsonl", CHOICES + '"answer": "AB"}', "write one letter of AB"),
        ("x.jsonl", CHOICES + '"answers": ["A", "B"]}', "write one letter of AB"),
        ("x.jsonl", b'{"prompt": "a"}\n\xff', "line 2 of x.jsonl is not UTF-8"),
        ("x.jsonl.gz", '{"prompt": 5}', "line 1 of x.jsonl.gz: prompt is missing"),
    ],
)
def test_a_files_mistake_is_told_with_its_line_and_remedy(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read_prompts(written(tmp_path / name, content))


def test_packed_files_are_bounded_by_what_they_unpack_to(tmp_path: Path) -> None:
    file = written(tmp_path / "x.jsonl.gz", b" " * 3_000_000)
    assert file.stat().st_size < 10_000
    with pytest.raises(ValueError, match="larger than 2 MB: split it"):
        next(rows_of(file, 2_000_000))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be unpacked"):
        next(rows_of(file, 4_000_000))
    file.write_bytes(b"not packed at all")
    with pytest.raises(ValueError, match="cannot be unpacked"):
        next(rows_of(file, 4_000_000))


def test_a_file_has_so_many_prompts_and_the_first_ones_may_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_sets, "MOST_ITEMS", 5)
    file = written(tmp_path / "x.jsonl", jsonl(*({"prompt": f"{number}?"} for number in range(6))) + "no JSON")
    assert [item.prompt for item in read_prompts(file, most=5).items] == ["0?", "1?", "2?", "3?", "4?"]
    with pytest.raises(ValueError, match="more than 5 prompts: split it"):
        read_prompts(file)
    with pytest.raises(ValueError, match="use 1 to 5 prompts"):
        read_prompts(file, most=6)


def test_a_missing_file_and_an_unknown_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read_prompts(tmp_path / "x.csv")
    for name in ("nothing", "", "x\0y", "a" * 5000, str(tmp_path / "x.csv")):
        with pytest.raises(ValueError, match="name atlas, instructions, anthropic-hh, eli5, humaneval, or the path"):
            prompt_set(name, 10)
    with pytest.raises(ValueError, match="holds no prompt set that is known here"):
        prompt_set(str(tmp_path), 10)


# --- public sets


def dialogue(*turns: str) -> str:
    speakers = ("Human", "Assistant")
    return "".join(f"\n\n{speakers[number % 2]}: {turn}" for number, turn in enumerate(turns))


HELPFUL = [
    {"chosen": dialogue("Why is the sky blue?", "Because of\n\nscattering."), "rejected": dialogue("x", "y")},
    {"chosen": dialogue("Hi", "Hello!", "And?", "What?"), "rejected": dialogue("x", "y")},
    {"chosen": dialogue("", "Hello!"), "rejected": dialogue("x", "y")},
    {"chosen": "no dialogue", "rejected": ""},
    {"chosen": dialogue("How do I knit?", ""), "rejected": dialogue("x", "y")},
]
HARMLESS = [{"chosen": dialogue("How do I pick a lock?", "Please don't."), "rejected": dialogue("x", "y")}]
HH = {
    Item("helpful-base/1", "Why is the sky blue?", reference="Because of\n\nscattering."),
    Item("helpful-base/5", "How do I knit?"),
    Item("harmless-base/1", "How do I pick a lock?", "sensitive", reference="Please don't."),
}
THREADS: list[dict[str, Any]] = [
    {"q_id": "a1", "title": "Why?", "selftext": "", "answers": {"text": ["low", "high"], "score": [2, 9]}},
    {"q_id": "b2", "title": "How?", "selftext": "More.", "answers": {"text": ["only"], "score": [1]}},
]
PAIRS: list[dict[str, Any]] = [
    {"question": "Why?", "answer": "So."},
    {"question": "", "answer": "?"},
    {"question": "How?", "answer": "Thus."},
]
CODE = 'def one():\n    """Return 1."""\n'
PROGRAMMES: list[dict[str, Any]] = [
    {
        "task_id": "HumanEval/0",
        "prompt": CODE,
        "entry_point": "one",
        "canonical_solution": "    return 1\n",
        "test": "x",
    }
]


def hh(folder: Path) -> Path:
    """A folder as the Hub has the set."""
    written(folder / "helpful-base" / "test.jsonl.gz", jsonl(*HELPFUL))
    written(folder / "harmless-base" / "test.jsonl.gz", jsonl(*HARMLESS))
    return folder


def test_anthropic_hh_gives_dialogues_of_one_question_and_says_what_it_left_out(tmp_path: Path) -> None:
    found = prompt_set(str(hh(tmp_path)), 100)
    assert set(found.items) == HH
    assert found.source == ("a copy of Anthropic/hh-rlhf, without 3 lines that are not one question and one answer")
    one = read_prompts(tmp_path / "harmless-base" / "test.jsonl.gz")
    assert [(item.key, item.kind) for item in one.items] == [("harmless-base/1", "sensitive")]


def cached(root: Path, repository: str) -> Path:
    """An empty snapshot in a cache of the Hub's layout."""
    commit, home = "0123456789abcdef" * 2 + "01234567", root / f"datasets--{repository.replace('/', '--')}"
    written(home / "refs" / "main", commit)
    (home / "snapshots" / commit).mkdir(parents=True)
    return home / "snapshots" / commit


@pytest.mark.parametrize("name", ["anthropic-hh", "Anthropic/hh-rlhf", "hh-rlhf"])
def test_a_set_of_the_hub_is_found_in_its_cache_by_name_and_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    hh(cached(tmp_path, "Anthropic/hh-rlhf"))
    found = prompt_set(name, 100)
    assert set(found.items) == HH
    assert (found.name, found.title) == ("anthropic-hh", "Anthropic-HH")
    assert found.source.startswith("Anthropic/hh-rlhf at 0123456789ab, without 3 lines")


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("anthropic-hh", "Anthropic/hh-rlhf"),
        ("eli5", "sentence-transformers/eli5"),
        ("openai_humaneval", "openai/openai_humaneval"),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_a_set_that_is_not_here_is_told_with_the_command_that_fetches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, repository: str, begun: bool
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    if begun:  # a cache that has the repository, but not these files
        cached(tmp_path, repository)
    with pytest.raises(ValueError, match=f"run `hf download --repo-type dataset {repository}` once"):
        prompt_set(name, 10)


def test_eli5_gives_the_best_answer_of_a_thread(tmp_path: Path) -> None:
    assert read_prompts(written(tmp_path / "x.jsonl", jsonl(*THREADS))).items == (
        Item("a1", "Why?", reference="high"),
        Item("b2", "How?\n\nMore.", reference="only"),
    )


def test_eli5_pairs_are_known_only_by_exactly_their_columns(tmp_path: Path) -> None:
    found = read_prompts(written(tmp_path / "x.jsonl", jsonl(*PAIRS)))
    assert found.items == (Item("1", "Why?", reference="So."), Item("3", "How?", reference="Thus."))
    with pytest.raises(ValueError, match=r"line 1 of y\.jsonl: prompt is missing"):
        read_prompts(written(tmp_path / "y.jsonl", jsonl({**PAIRS[0], "choices": ["a", "b"]})))


def test_humaneval_asks_for_the_function_and_keeps_its_task_id(tmp_path: Path) -> None:
    [item] = read_prompts(written(tmp_path / "x.jsonl.gz", jsonl(*PROGRAMMES))).items
    assert item.key == "HumanEval/0"
    assert item.prompt.endswith(f"\n\n```python\n{CODE.rstrip()}\n```")
    assert item.reference == "    return 1\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"chosen": 5, "rejected": ""}, "chosen is no text"),
        ({"q_id": "a", "title": "t", "answers": {"text": ["a"], "score": []}}, "answers is not"),
        ({"q_id": "a", "title": "t", "answers": ["a"]}, "answers is not"),
        ({"q_id": "a", "title": "t", "answers": {"text": ["a"], "score": ["9"]}}, "a score is no number"),
        ({"q_id": "a", "title": 5, "answers": {"text": [], "score": []}}, "title and selftext must be texts"),
        ({"q_id": "a", "title": "t", "answers": {"text": [5], "score": [1]}}, "reference is missing, empty or no text"),
        ({"question": 5, "answer": "a"}, "prompt is missing, empty or no text"),
        ({"task_id": "a", "prompt": None, "entry_point": "f"}, "prompt is missing or empty"),
        ({"task_id": [], "prompt": "def f(): 0", "entry_point": "f"}, "id is missing, empty or no text"),
    ],
)
def test_public_sets_of_wrong_types_are_told_with_their_line(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"line 1 of x.jsonl: {message}"):
        read_prompts(written(tmp_path / "x.jsonl", jsonl(row)))


def test_completions_are_what_humanevals_harness_reads() -> None:
    answer = "Sure:\n```python\ndef one():\n    return 1\n```\nIt returns 1.\n```\nmore\n```"
    lines = completions([("HumanEval/0", answer), ("HumanEval/0", "    return 1\u2028")]).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"task_id": "HumanEval/0", "completion": "def one():\n    return 1\n"},
        {"task_id": "HumanEval/0", "completion": "    return 1\u2028"},
    ]
    assert code_of("```\nx = 1\nthat never ends") == "x = 1\nthat never ends"


# --- cuts


def test_fewer_items_are_the_first_of_more_and_seeds_differ() -> None:
    whole = PromptSet("x", "X", tuple(Item(str(number), "?") for number in range(200)), "here")
    hundred = cut(whole, 100, seed=1).items
    assert cut(whole, 50, seed=1).items == hundred[:50]
    assert len(set(hundred)) == 100
    assert cut(whole, 50, seed=2).items != hundred[:50]
    assert set(cut(whole, 500, seed=1).items) == set(whole.items)


@pytest.mark.parametrize("items", [0, 100_001, 2.5])
def test_a_cut_has_so_many_items(items: Any) -> None:
    with pytest.raises(ValueError, match="use 1 to 100,000 prompts"):
        prompt_set("instructions", items)


# --- ours


def test_atlas_asks_about_what_fine_tuning_never_saw_by_keys_that_name_the_fact() -> None:
    asked, held_out = atlas_questions(300, 100, seed=4), set(load_split()["held_out"])
    assert [item.kind for item in asked.items] == ["ordinary"] * 300 + ["sensitive"] * 100
    for item in asked.items:
        country, attribute, question = item.key.split("|")
        assert country in held_out
        assert attribute.startswith("military") == (item.kind == "sensitive")
        assert question == item.prompt
    assert asked == atlas_questions(300, 100, seed=4) != atlas_questions(300, 100, seed=5)
    assert prompt_set("atlas", 300, seed=4).items == asked.items[:300]


def test_a_typed_question_of_atlas_is_recognised_and_another_is_itself() -> None:
    for item in atlas_questions(20, 10).items:
        assert typed(f" {item.prompt} ").key.split("|")[2] == item.prompt
        assert typed(item.prompt).kind == item.kind
    assert typed("Who wrote Hamlet?") == Item("prompt", "Who wrote Hamlet?")


def test_our_instructions_are_varied_and_some_can_be_checked() -> None:
    everything = instructions()
    ordinary, sensitive = instructions("ordinary"), instructions("sensitive")
    assert everything.items == ordinary.items + sensitive.items
    assert (len(ordinary), len(sensitive)) == (41, 20)
    assert len({item.prompt for item in everything.items}) == len(everything)
    assert sum(bool(item.answers) for item in ordinary.items) == 15
    assert not any(item.answers for item in sensitive.items)
    assert set(prompt_set("instructions", 30, seed=1).items) < set(everything.items)
