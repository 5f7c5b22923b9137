"""An export of everything comes back whole, with the same statistics, or not at all and the wrong line is named."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rated import Filled, assert_same_votes, compared, filled, opened, rows
from studied import studied, vote

from eft_core.ratings.desk import Desk
from eft_core.ratings.export import FORMS, Wishes, exported
from eft_core.ratings.importing import imported
from eft_core.ratings.studies import Who
from eft_core.storage import Storage

Lines = list[dict[str, Any]]


@pytest.fixture
def every_kind(database_url: str) -> Iterator[Storage]:
    """An empty database, of each kind in turn."""
    made = Storage(database_url)
    yield made
    made.close()


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with opened(tmp_path / "ratings.sqlite3") as made:
        yield made


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Storage]:
    """Another database, empty."""
    with opened(tmp_path / "other.sqlite3") as storage:
        yield storage


@pytest.fixture
def full(storage: Storage) -> Filled:
    return filled(storage, raters=3)


def file_of(storage: Storage, folder: Path, *campaigns: str) -> Path:
    file = folder / "export.jsonl"
    file.write_bytes(exported(storage, "jsonl", campaigns).content)
    return file


def lines_of(file: Path) -> Lines:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def test_an_import_gives_the_same_statistics_and_the_same_export(
    storage: Storage, other: Storage, full: Filled, tmp_path: Path
) -> None:
    file = file_of(storage, tmp_path)
    written = imported(other, file)
    assert sum(written.values()) == len(lines_of(file)) - 1
    assert_same_votes(storage, other)
    for name, there in rows(storage).items():
        if name != "annotators":  # these come as ids alone
            assert rows(other)[name] == there
    again = exported(other, "jsonl").content.split(b"\n")[1:]
    assert sorted(again) == sorted(file.read_bytes().split(b"\n")[1:])


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_database_gives_the_same_files(every_kind: Storage, form: str, tmp_path: Path) -> None:
    wishes = Wishes(pair=("large base", "up-scaled")) if form == "comparator" else None
    with opened(tmp_path / "source.sqlite3") as source:
        filled(source, raters=3)
        imported(every_kind, file_of(source, tmp_path))
        assert_same_votes(source, every_kind)
        one, other = exported(source, form, wishes=wishes), exported(every_kind, form, wishes=wishes)
    if form == "jsonl":  # its first line has the time
        assert sorted(one.content.split(b"\n")[1:]) == sorted(other.content.split(b"\n")[1:])
    else:
        assert one == other


def test_what_is_brought_twice_is_there_once(storage: Storage, other: Storage, full: Filled, tmp_path: Path) -> None:
    file = file_of(storage, tmp_path)
    imported(other, file)
    before = rows(other)
    assert set(imported(other, file).values()) == {0}
    assert set(imported(storage, file).values()) == {0}
    assert rows(other) == before


def test_a_database_that_has_other_judgements_keeps_them(
    storage: Storage, other: Storage, full: Filled, tmp_path: Path
) -> None:
    mine = filled(other, raters=3)  # it has free comparisons of its own, of the same family
    before = rows(other)
    imported(other, file_of(storage, tmp_path))
    after = rows(other)
    for name, there in before.items():
        assert all(row in after[name] for row in there)
    assert len(after["ratings"]) == len(before["ratings"]) + len(rows(storage)["ratings"])
    assert mine.free == full.free
    desk = Desk(other)
    compared(desk, mine.people[1], run="later")  # and free comparisons go on


def test_nobody_can_go_on_as_an_annotator_who_was_imported(
    storage: Storage, other: Storage, full: Filled, tmp_path: Path
) -> None:
    imported(other, file_of(storage, tmp_path))
    with pytest.raises(ValueError, match="code is not known"):
        Desk(other).place(full.campaign, full.people[0])


def test_two_histories_of_one_comparison_cannot_be_joined(storage: Storage, other: Storage, tmp_path: Path) -> None:
    campaign = studied(storage, count=2)
    desk = Desk(storage)
    who = Who(desk.join(campaign))
    vote(desk, campaign, who)
    file = file_of(storage, tmp_path)
    imported(other, file)
    lines = lines_of(file)
    number = change("ratings", id=UNKNOWN, client_key="another-key")(lines)
    file.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    before = rows(other)
    with pytest.raises(ValueError, match=rf"line {number} of export.jsonl: another row of ratings is in its place"):
        imported(other, file)
    assert rows(other) == before


# --- what is wrong


def change(table: str, **values: Any) -> Callable[[Lines], int]:
    """A change of the table's last row; returns its line."""

    def changed(lines: Lines) -> int:
        place = max(number for number, line in enumerate(lines) if line.get("table") == table)
        lines[place]["row"] |= values
        return place + 1

    return changed


def without(table: str, column: str) -> Callable[[Lines], int]:
    def changed(lines: Lines) -> int:
        place = max(number for number, line in enumerate(lines) if line.get("table") == table)
        del lines[place]["row"][column]
        return place + 1

    return changed


def line(**values: Any) -> Callable[[Lines], int]:
    """A line more."""

    def added(lines: Lines) -> int:
        lines.append(values)
        return len(lines)

    return added


def doubled(lines: Lines) -> int:
    lines.append(lines[-1])
    return len(lines)


def of_another(lines: Lines) -> int:
    """A rating that is said to be another annotator's."""
    place = max(number for number, each in enumerate(lines) if each.get("table") == "ratings")
    row = lines[place]["row"]
    row["annotator"] = next(
        each["row"]["id"]
        for each in lines
        if each.get("table") == "annotators" and each["row"]["id"] != row["annotator"]
    )
    return place + 1


def without_parent(lines: Lines) -> int:
    """A comparison goes, its rating stays."""
    place = max(number for number, each in enumerate(lines) if each.get("table") == "ratings")
    comparison = lines[place]["row"]["comparison"]
    lines[:] = [each for each in lines if each.get("row", {}).get("id") != comparison]
    return next(number for number, each in enumerate(lines, 1) if comparison in each.get("row", {}).values())


UNKNOWN = "00000000-0000-4000-8000-000000000000"
WRONG: dict[str, tuple[Callable[[Lines], int], str]] = {
    "no such table": (line(table="users", row={"id": UNKNOWN}), "tables are annotators"),
    "a table that is none": (line(table=["ratings"], row={}), "tables are annotators"),
    "a row that is none": (line(table="ratings", row=[]), "tables are annotators"),
    "more beside the row": (line(table="ratings", row={}, sql="DROP TABLE ratings"), "tables are annotators"),
    "no such column": (change("ratings", admin=True), "ratings has no column admin"),
    "a code that was planted": (change("annotators", code_digest="00"), "annotators has no column code_digest"),
    "a text for a number": (change("ratings", turn="1; DROP TABLE ratings"), "no integer"),
    "a truth for a number": (change("ratings", turn=True), "no integer"),
    "a number too large": (change("comparisons", order_seed=2**31), "no integer"),
    "a number for a truth": (change("comparisons", flipped=1), "no boolean"),
    "a number for a text": (change("items", prompt=7), "prompt must be a text"),
    "a text too long": (change("campaigns", title="x" * 201), "title has 201 characters"),
    "a text with NUL": (change("items", prompt="a\x00b"), "cannot be kept"),
    "half a character": (change("items", prompt="\ud800"), "cannot be kept"),
    "a value that is not finite": (change("generations", statistics={"kl": float("nan")}), "not finite"),
    "seconds without an end": (change("ratings", seconds=float("inf")), "no float"),
    "a time without a zone": (change("ratings", created="2026-01-01T00:00:00"), "no time in ISO 8601 with a zone"),
    "a time that is none": (change("ratings", created=17), "no time"),
    "a value that is missing": (change("ratings", software=None), "software is missing"),
    "a column that is missing": (without("ratings", "client_key"), "client_key is missing"),
    "an id that is none": (change("items", id="../../etc"), "is no UUID"),
    "an id of a missing row": (change("ratings", comparison=UNKNOWN), "names a row of comparisons that is not"),
    "a row that was taken out": (without_parent, "names a row of comparisons that is not"),
    "an id that came before": (doubled, "its id was that of line"),
    "a policy that is none": (change("generations", policy={"pretrain": 7}), ""),
    "sampling that is none": (change("generations", sampling={"temperature": "hot"}), "temperature"),
    "an answer without a seed": (change("generations", sampling=None), "cannot be made again"),
    "a plan that is none": (change("campaigns", plan={"title": "x"}), "no campaign's plan"),
    "a state that is none": (change("campaigns", state="open"), "running, paused, closed"),
    "a verdict that is none": (change("ratings", verdict="maybe"), "the verdict must be one of"),
    "a strength of nothing": (change("ratings", verdict="both_bad", strength=2), "a strength needs a better side"),
    "marks out of range": (change("ratings", scales={"left": {"helpfulness": 9}}), "1 to 5|outside"),
    "a comment of a megabyte": (change("ratings", comment="x" * 2**20), "comment has"),
    "an action that is none": (change("ratings", action="delete"), "vote, edit, undo"),
    "a turn that does not follow": (change("ratings", turn=7), "does not follow"),
    "a rating of another's comparison": (of_another, "another annotator's"),
    "a kind that is none": (change("comparisons", kind="ordinary "), "ordinary, repeat, gold"),
    "a repeat of nothing": (change("comparisons", kind="repeat", original=None), "a repeat, and nothing else"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """The lines of a file with which nothing is wrong."""
    folder = tmp_path_factory.mktemp("sound")
    with opened(folder / "sound.sqlite3") as storage:
        filled(storage, raters=3)
        return lines_of(file_of(storage, folder))


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_by_its_line_and_nothing_is_written(
    what: str, sound: Lines, other: Storage, tmp_path: Path
) -> None:
    lines = json.loads(json.dumps(sound))
    spoil, told = WRONG[what]
    number = spoil(lines)
    file = tmp_path / "spoilt.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^line {number} of spoilt\.jsonl: .*({told})"):
        imported(other, file)
    assert not any(rows(other).values())


def test_a_file_of_something_else_is_refused(other: Storage, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    for content in ("", '{"prompt": "a"}\n', '{"schema": "eft-lab/ratings/9", "created": "now"}\n'):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match="is no export of the schema eft-lab/ratings/1: make it with"):
            imported(other, file)
    file.write_text("PAR1", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1 is no JSON object"):
        imported(other, file)
    with pytest.raises(ValueError, match="cannot be read"):
        imported(other, tmp_path / "nothing.jsonl")


@pytest.mark.parametrize("depth", [60, 500, 100_000])
def test_deep_nesting_is_refused(sound: Lines, other: Storage, tmp_path: Path, depth: int) -> None:
    lines = [json.dumps(each) for each in sound]
    place = next(number for number, each in enumerate(lines) if '"table": "generations"' in each)
    deep = json.loads(lines[place])
    deep["row"]["statistics"] = "DEEP"
    lines[place] = json.dumps(deep).replace('"DEEP"', "[" * depth + "]" * depth)
    file = tmp_path / "deep.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"line {place + 1}"):
        imported(other, file)
    assert not any(rows(other).values())
