"""Exports hold what raters said, in the columns that trainers ask for; nothing secret, and no formulas."""

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rated import HOSTILE, Filled, compared, filled, opened
from sqlalchemy import select
from studied import CONTENDERS, key, studied, vote

from eft_core.experiments.documents import harmless
from eft_core.ratings.campaign import TAGS
from eft_core.ratings.desk import Desk
from eft_core.ratings.export import FORMS, SCHEMA, Exported, Wishes, exported
from eft_core.ratings.judged import COLUMNS, judged
from eft_core.ratings.judgement import Judgement
from eft_core.ratings.office import Office
from eft_core.ratings.records import votes
from eft_core.ratings.studies import Who, digest_of
from eft_core.schema import TABLES, annotators
from eft_core.storage import Storage

PAIR = CONTENDERS[:2]
TEXT, FLAG, NUMBER = "string", "bool", "float64"
Said = str | tuple[str, dict[str, Any]]  # the better answer or a verdict, and what else a rater says


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    """SQLite alone: `test_importing` compares all forms with PostgreSQL's."""
    with opened(tmp_path / "ratings.sqlite3") as made:
        yield made


@pytest.fixture
def full(storage: Storage) -> Filled:
    return filled(storage)


def rows_of(file: Exported) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.content.decode().split("\n")[:-1]]


def says(storage: Storage, campaign: str, better: str, **said: Any) -> Who:
    """A new rater who judges the campaign's one pair: the answer that begins so is better, or a verdict as it is."""
    desk = Desk(storage)
    who = Who(desk.join(campaign))
    task = desk.place(campaign, who).task
    assert task is not None
    sides = {task.left.split()[1][0]: "left", task.right.split()[1][0]: "right"}
    vote(desk, campaign, who, sides.get(better, better), **said)
    return who


def one_pair(storage: Storage, *said: Said) -> str:
    """A campaign of one prompt and two policies, a and b, with what its raters say: a, b, or a verdict."""
    campaign = studied(storage, count=1, contenders=PAIR, target=100)
    for each in said:
        better, more = (each, {}) if isinstance(each, str) else each
        says(storage, campaign, better, **more)
    return campaign


# --- for trainers


def loaded(file: Exported, folder: Path) -> Any:
    """A file as the `datasets` library reads it."""
    import datasets

    (folder / file.name).write_bytes(file.content)
    datasets.disable_progress_bars()
    files = str(folder / file.name)
    return datasets.load_dataset("json", data_files=files, cache_dir=str(folder / "cache"), split="train")


def kinds(features: Any) -> dict[str, Any]:
    """Types by column; a list of messages as the types of a message."""
    return {
        name: kind.dtype if hasattr(kind, "dtype") else {part: each.dtype for part, each in kind.feature.items()}
        for name, kind in features.items()
    }


@pytest.mark.parametrize(
    ("form", "columns"),
    [
        ("preference", {"prompt": TEXT, "chosen": TEXT, "rejected": TEXT}),
        ("unpaired", {"prompt": TEXT, "completion": TEXT, "label": FLAG}),
        ("reward", {"prompt": TEXT, "chosen": TEXT, "rejected": TEXT, "margin": NUMBER}),
    ],
)
def test_the_datasets_library_reads_the_columns_that_trl_asks_for(
    storage: Storage, full: Filled, tmp_path: Path, form: str, columns: dict[str, str]
) -> None:
    plain = exported(storage, form)
    data = loaded(plain, tmp_path)
    assert kinds(data.features) == columns
    assert data.num_rows == plain.counts["rows"] > 5
    message = {"role": TEXT, "content": TEXT}
    talk = exported(storage, form, wishes=Wishes(conversational=True))
    assert kinds(loaded(talk, tmp_path).features) == {
        name: message if kind == TEXT else kind for name, kind in columns.items()
    }
    for row, turns in zip(rows_of(plain), rows_of(talk), strict=True):
        for name, kind in columns.items():
            role = "user" if name == "prompt" else "assistant"
            assert turns[name] == ([{"role": role, "content": row[name]}] if kind == TEXT else row[name])


def test_the_better_answer_is_chosen_whichever_side_it_stood_on(storage: Storage) -> None:
    campaign = one_pair(storage, *["a"] * 6, *["b"] * 6)
    shown = judged(storage)
    assert set(shown["flipped"]) == {True, False}  # of 12 seeds; false alarm 2 ** -11
    prompt, a, b = "What is the capital of country 0?", "Answer a0.", "Answer b0."
    rows = rows_of(exported(storage, "preference", [campaign]))
    assert (
        rows
        == [{"prompt": prompt, "chosen": a, "rejected": b}] * 6 + [{"prompt": prompt, "chosen": b, "rejected": a}] * 6
    )


def test_what_is_left_out_is_counted_and_every_judgement_is_accounted_for(storage: Storage, full: Filled) -> None:
    table = votes(storage).table
    left = table[~table["excluded"] & (table["kind"] == "ordinary") & table["blind"]]
    outcomes = left["outcome"].value_counts()
    counts = exported(storage, "preference").counts
    assert counts["rows"] == outcomes["first"] + outcomes["second"]
    assert counts["both good"] == outcomes["both_good"] > 0
    assert counts["both bad"] == outcomes["both_bad"] > 0
    assert counts["can't judge"] == outcomes["unsure"] > 0
    assert counts["of excluded annotators"] == table["excluded"].sum() > 0
    assert counts["gold items"] == ((table["kind"] == "gold") & ~table["excluded"]).sum() > 0
    assert counts["repeats"] == ((table["kind"] == "repeat") & ~table["excluded"]).sum() > 0
    assert counts["not blind"] == 1
    assert sum(counts.values()) == len(table)


def test_counts_are_told_in_a_sentence(storage: Storage) -> None:
    campaign = one_pair(storage, "a", "both_good", "both_good", "unsure")
    assert str(exported(storage, "preference", [campaign])) == "1 rows; left out: 2 both good, 1 can't judge."
    assert str(exported(storage, "jsonl", [campaign])).endswith(" rows.")


def test_free_judgements_that_were_not_blind_are_there_when_they_are_wished_for(storage: Storage, full: Filled) -> None:
    assert exported(storage, "preference", [full.free]).counts["rows"] == 0
    file = exported(storage, "preference", [full.free], Wishes(not_blind=True))
    [row] = rows_of(file)
    assert row["prompt"] == '=HYPERLINK("http://x")'
    assert {row["chosen"], row["rejected"]} == {"+1", "-1"}
    assert file.counts["not blind"] == 0


def test_a_majority_is_one_row_and_pairs_without_one_are_counted(storage: Storage) -> None:
    wishes = Wishes(majority=True)
    clear = one_pair(storage, "a", "a", "b", "unsure", "unsure", "unsure")
    assert [row["chosen"] for row in rows_of(exported(storage, "preference", [clear], wishes))] == ["Answer a0."]
    split = exported(storage, "preference", [one_pair(storage, "a", "b", "both_bad")], wishes)
    assert (split.counts["rows"], split.counts["pairs without a majority"]) == (0, 1)
    tied = exported(storage, "preference", [one_pair(storage, "both_bad", "both_bad", "a")], wishes)
    assert (tied.counts["rows"], tied.counts["both bad"]) == (0, 1)
    unable = exported(storage, "preference", [one_pair(storage, "unsure")], wishes)
    assert (unable.counts["rows"], unable.counts["can't judge"], unable.counts["pairs without a majority"]) == (0, 1, 0)


def test_a_pair_that_is_sometimes_named_the_other_way_round_keeps_its_sense(storage: Storage) -> None:
    desk = Desk(storage)
    raters = [Who(desk.join(desk.open_free("llama"))) for _ in range(12)]
    for who in raters:
        compared(desk, who)  # free comparisons have no order of policies
    table = judged(storage)
    assert len(set(zip(table["first_key"], table["second_key"], strict=True))) == 2  # false alarm 2 ** -11
    preferences = exported(storage, "preference", wishes=Wishes(not_blind=True))
    assert [row["chosen"] for row in rows_of(preferences)] == ["+1"] * 12
    wishes = Wishes(not_blind=True, pair=("=A1", "tuned"))
    examples = json.loads(exported(storage, "comparator", wishes=wishes).content)["examples"]
    assert [(each["output_text_a"], each["output_text_b"], each["score"]) for each in examples] == [
        ("+1", "-1", 1.0)
    ] * 12
    plus_at_the_right = [
        (a == "-1") != flipped for a, flipped in zip(table["first_text"], table["flipped"], strict=True)
    ]
    assert [each["individual_rater_scores"][0]["is_flipped"] for each in examples] == plus_at_the_right


def test_unpaired_rows_say_of_each_answer_whether_it_is_good(storage: Storage) -> None:
    def labels(*said: str, majority: bool = False) -> dict[str, list[bool]]:
        found: dict[str, list[bool]] = {"Answer a0.": [], "Answer b0.": []}
        for row in rows_of(exported(storage, "unpaired", [one_pair(storage, *said)], Wishes(majority=majority))):
            found[row["completion"]].append(row["label"])
        return found

    assert labels("a") == {"Answer a0.": [True], "Answer b0.": [False]}
    assert labels("b") == {"Answer a0.": [False], "Answer b0.": [True]}
    assert labels("both_good") == {"Answer a0.": [True], "Answer b0.": [True]}
    assert labels("both_bad") == {"Answer a0.": [False], "Answer b0.": [False]}
    assert labels("unsure") == {"Answer a0.": [], "Answer b0.": []}
    assert labels("a", "both_bad") == {"Answer a0.": [True, False], "Answer b0.": [False, False]}
    assert labels("a", "both_good", "b", majority=True) == {"Answer a0.": [True], "Answer b0.": [True]}
    assert labels("a", "both_bad", majority=True) == {"Answer a0.": [], "Answer b0.": [False]}
    tie = exported(storage, "unpaired", [one_pair(storage, "a", "both_bad")], Wishes(majority=True))
    assert tie.counts["answers without a majority"] == 1


def test_a_margin_is_the_strength_and_there_is_none_where_nobody_was_asked(storage: Storage) -> None:
    def margins(*said: Said, majority: bool = False) -> list[Any]:
        file = exported(storage, "reward", [one_pair(storage, *said)], Wishes(majority=majority))
        return [row.get("margin") for row in rows_of(file)]

    slightly, clearly = ("a", {"strength": 1}), ("a", {"strength": 2})
    assert margins(slightly, clearly, "b") == [1.0, 2.0, 0.0]  # 0 asks for no margin, and every row has one
    assert margins("a", "b") == [None, None]
    assert margins(slightly, clearly, ("b", {"strength": 2}), majority=True) == [1.5]


# --- LLM Comparator


def test_a_comparator_file_has_every_raters_score_from_the_first_policys_view(storage: Storage) -> None:
    said: list[Said] = [
        ("a", {"strength": 1}),
        ("b", {"strength": 2, "comment": "why", "tags": (TAGS[0],)}),
        "a",
        "both_bad",
        "unsure",
    ]
    campaign = one_pair(storage, *said)
    file = exported(storage, "comparator", [campaign])
    document = json.loads(file.content)
    assert set(document) == {"metadata", "models", "examples"}
    assert document["models"] == [{"name": "large base"}, {"name": "small tuned"}]
    [example] = document["examples"]
    assert set(example) == {
        *("input_text", "tags", "output_text_a", "output_text_b", "score", "individual_rater_scores", "custom_fields")
    }
    assert (example["output_text_a"], example["output_text_b"]) == ("Answer a0.", "Answer b0.")
    ratings = example["individual_rater_scores"]
    assert [each["score"] for each in ratings] == [0.5, -1.5, 1.0, 0.0]
    assert [each["rating_label"] for each in ratings] == [
        *("A is slightly better", "B is clearly better", "A is better", "both bad")
    ]
    assert [each["rationale"] for each in ratings] == ["", "why", "", ""]
    assert example["score"] == pytest.approx(0.0)
    assert example["tags"] == [TAGS[0]]
    assert example["custom_fields"]["tokens"] == [3, 4]
    known = {each["name"] for each in document["metadata"]["custom_fields_schema"]}
    assert set(example["custom_fields"]) == known
    assert file.counts["can't judge"] == 1
    flipped = judged(storage, [campaign])["flipped"][:4]
    assert [each["is_flipped"] for each in ratings] == list(flipped)


def test_a_comparator_pair_may_be_turned_round(storage: Storage) -> None:
    campaign = one_pair(storage, ("a", {"strength": 2}))
    wishes = Wishes(pair=("small tuned", "large base"))
    [there] = json.loads(exported(storage, "comparator", [campaign]).content)["examples"]
    [back] = json.loads(exported(storage, "comparator", [campaign], wishes).content)["examples"]
    assert (back["score"], there["score"]) == (-1.5, 1.5)
    assert (back["output_text_a"], back["output_text_b"]) == ("Answer b0.", "Answer a0.")
    assert back["custom_fields"]["tokens"] == [4, 3]
    [mine], [other] = there["individual_rater_scores"], back["individual_rater_scores"]
    assert mine["is_flipped"] is not other["is_flipped"]


def test_a_comparator_file_is_of_one_pair_and_the_pairs_are_named(storage: Storage, full: Filled) -> None:
    with pytest.raises(ValueError, match="choose one of") as told:
        exported(storage, "comparator", [full.campaign])
    for each in CONTENDERS:
        assert f"“{each.label}”" in str(told.value)
    with pytest.raises(ValueError, match="nobody judged up-scaled against nonsense"):
        exported(storage, "comparator", [full.campaign], Wishes(pair=("up-scaled", "nonsense")))
    file = exported(storage, "comparator", [full.campaign], Wishes(pair=("up-scaled", "large base")))
    assert json.loads(file.content)["models"] == [{"name": "up-scaled"}, {"name": "large base"}]
    assert file.counts["of other pairs"] > 0


def test_two_policies_with_one_label_are_told_apart(storage: Storage) -> None:
    from eft_core.ratings.campaign import Contender

    other = (Contender("large base", CONTENDERS[2].policy), Contender("small tuned", CONTENDERS[1].policy))
    one_pair(storage, "a")
    campaign = studied(storage, count=1, contenders=other, target=100)
    says(storage, campaign, "a")
    with pytest.raises(ValueError, match=re.escape(f"“large base: {CONTENDERS[2].policy.formula()}”")):
        exported(storage, "comparator")


# --- for people

FORMULA = "=+-@＝＋－＠"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_spreadsheet_finds_a_formula_whatever_its_separator(storage: Storage, full: Filled, separator: str) -> None:
    text = exported(storage, "csv").content.decode("utf-8-sig")
    assert HOSTILE[:4] in text  # it is there, harmless
    cells = [each for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) for each in row]
    assert len(cells) > 100
    assert [each for each in cells if each.lstrip(' "\t\r\n').startswith(tuple(FORMULA))] == []


@pytest.mark.parametrize(
    "text",
    [
        "=1",
        "+1",
        "-1",
        "@a",
        "\t=1",
        "\r=1",
        " =1",
        "＝1",
        "＋1",
        "－1",
        "＠a",
        '"=1',
        "a;=1",
        "a\n=1",
        "a\r=1",
        "a\t+1",
        'a;"=1',
    ],
)
def test_a_cell_is_no_formula_and_its_text_stays_legible(text: str) -> None:
    made = str(harmless(text))
    assert made.replace("'", "") == text.replace("\r", "\n")
    assert not any(part.lstrip(' "\t').startswith(tuple(FORMULA)) for part in re.split(r"[;\t\n]", made))


def test_ordinary_texts_are_cells_as_they_are() -> None:
    for text in ("It's 2 - 1 = 1; so there.", "a,b", "", "e-mail: x@y", "ünï ☃"):
        assert harmless(text) == text


def test_a_spreadsheet_has_a_row_a_judgement_with_all_its_columns(storage: Storage, full: Filled) -> None:
    table = pd.read_csv(io.BytesIO(exported(storage, "csv").content), keep_default_na=False)
    assert tuple(table.columns) == COLUMNS
    expected = judged(storage)
    assert list(table["rating"]) == list(expected["rating"])
    assert list(table["first_text"].str.replace("'", "")) == list(expected["first_text"])
    assert list(table["outcome"]) == list(expected["outcome"])


def test_without_judgements_a_spreadsheet_has_its_head(storage: Storage) -> None:
    assert exported(storage, "csv").content.decode("utf-8-sig") == ",".join(COLUMNS) + "\n"


def test_parquet_has_the_same_table_with_texts_as_they_are(storage: Storage, full: Filled) -> None:
    table = pd.read_parquet(io.BytesIO(exported(storage, "parquet").content))
    expected = judged(storage)
    assert tuple(table.columns) == COLUMNS
    assert HOSTILE in set(table["comment"])
    assert [list(each) for each in table["tags"]] == list(expected["tags"])
    pd.testing.assert_frame_equal(table.drop(columns="tags"), expected.drop(columns="tags"))


def test_without_pyarrow_parquet_says_what_to_install(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    one_pair(storage, "a")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match="pip install pyarrow"):
        exported(storage, "parquet")


def test_the_table_has_current_judgements_alone(storage: Storage) -> None:
    campaign = one_pair(storage, "a")
    desk, who = Desk(storage), says(storage, campaign, "a")
    [past] = desk.history(campaign, who)
    desk.cast(campaign, who, Judgement(past.comparison, key(), "both_bad", comment="on second thoughts"))
    taken_back = says(storage, campaign, "b")
    desk.undo(campaign, taken_back, key())
    table = judged(storage, [campaign])
    assert list(table["outcome"]) == ["first", "both_bad"]
    assert list(table["comment"]) == ["", "on second thoughts"]


# --- everything


def test_everything_is_there_with_its_history_in_the_order_of_the_tables(storage: Storage, full: Filled) -> None:
    head, *lines = rows_of(exported(storage, "jsonl"))
    assert head["schema"] == SCHEMA
    assert set(head["campaigns"]) == {full.campaign, full.free}
    names = [line["table"] for line in lines]
    assert list(dict.fromkeys(names)) == [table.name for table in TABLES]
    assert names == sorted(names, key=[table.name for table in TABLES].index)
    with storage.reading() as connection:
        for table in TABLES:
            ids = {line["row"]["id"] for line in lines if line["table"] == table.name}
            assert ids == set(connection.scalars(select(table.c.id)))
    actions = {line["row"]["action"] for line in lines if line["table"] == "ratings"}
    assert actions == {"vote", "edit", "undo"}
    answers = [line["row"] for line in lines if line["table"] == "generations"]
    assert all(each["sampling"] and each["limits"] and each["revisions"] for each in answers if each["policy"])


def test_no_text_ends_a_line_for_any_reader(storage: Storage, full: Filled) -> None:
    text = exported(storage, "jsonl").content.decode()
    assert text.splitlines() == text.split("\n")[:-1]
    assert HOSTILE in {line["row"].get("comment") for line in rows_of(exported(storage, "jsonl"))[1:]}


def test_a_campaign_is_exported_with_its_own_annotators_alone(storage: Storage, full: Filled) -> None:
    one_pair(storage, "a")
    for form in ("jsonl", "csv"):
        assert exported(storage, form, [full.free]).counts["rows"] < exported(storage, form).counts["rows"]
    _, *lines = rows_of(exported(storage, "jsonl", [full.free]))
    assert [line["table"] for line in lines].count("annotators") == 1
    assert {line["row"].get("campaign", full.free) for line in lines} == {full.free}
    assert set(judged(storage, [full.free])["campaign"]) == {full.free}


@pytest.mark.parametrize("form", FORMS)
def test_nothing_secret_is_in_any_export(storage: Storage, full: Filled, form: str) -> None:
    desk = Desk(storage)
    campaign = studied(storage, count=1, contenders=PAIR, identity="login")
    desk.join(campaign, "a-login-of-somebody")
    vote(desk, campaign, Who(login="a-login-of-somebody"))
    Office(storage).exclude(campaign, _annotator(storage, campaign), "spam")
    wishes = Wishes(pair=("large base", "small tuned")) if form == "comparator" else None
    content = exported(storage, form, wishes=wishes).content
    text = str(pd.read_parquet(io.BytesIO(content)).to_dict()) if form == "parquet" else content.decode()
    secrets = [secret for who in full.people for secret in (who.code, digest_of(who.code))]
    assert [secret for secret in [*secrets, "a-login-of-somebody", "side_seed", "code_digest"] if secret in text] == []


def _annotator(storage: Storage, campaign: str) -> str:
    with storage.reading() as connection:
        found = connection.scalar(select(annotators.c.id).where(annotators.c.login.is_not(None)))
    assert found is not None
    return found


# --- mistakes


def test_mistakes_are_sentences(storage: Storage) -> None:
    with pytest.raises(ValueError, match="is no form of export: use jsonl, csv"):
        exported(storage, "xlsx")
    with pytest.raises(ValueError, match="there is no campaign 'nonsense' here"):
        exported(storage, "csv", ["nonsense"])
    with pytest.raises(ValueError, match="majority is for preference, unpaired, reward: leave it out for csv"):
        exported(storage, "csv", wishes=Wishes(majority=True))
    with pytest.raises(ValueError, match="there are no judgements of two policies"):
        exported(storage, "comparator")
