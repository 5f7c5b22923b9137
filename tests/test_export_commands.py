"""Judgements from the command line: out as a file, in again, listed; mistakes are one line and status 2."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rated import Filled, assert_same_votes, filled, opened, rows

from eft_core.__main__ import main
from eft_core.ratings.export import Wishes, exported

ROOT = Path(__file__).parent.parent
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """A user's data folder with judgements in it."""
    monkeypatch.setenv("EFT_DATA_DIR", str(tmp_path))
    with opened(tmp_path / "ratings.sqlite3") as storage:
        return filled(storage, raters=3)


@pytest.fixture
def here(full: Filled, tmp_path: Path) -> Callable[[str, Wishes], bytes]:
    """What an export of the data folder holds."""

    def export(form: str, wishes: Wishes) -> bytes:
        with opened(tmp_path / "ratings.sqlite3") as storage:
            return exported(storage, form, [full.campaign], wishes).content

    return export


@pytest.mark.parametrize(
    ("form", "options", "wishes"),
    [
        ("preference", [], Wishes()),
        ("preference", ["--conversational", "--majority"], Wishes(conversational=True, majority=True)),
        ("unpaired", ["--not-blind"], Wishes(not_blind=True)),
        ("comparator", ["--pair", "up-scaled", "large base"], Wishes(pair=("up-scaled", "large base"))),
        ("csv", [], Wishes()),
        ("parquet", [], Wishes()),
    ],
)
def test_every_option_reaches_the_file(
    here: Callable[[str, Wishes], bytes],
    full: Filled,
    tmp_path: Path,
    capsys: Captured,
    form: str,
    options: list[str],
    wishes: Wishes,
) -> None:
    out = tmp_path / "out"
    assert main(["export", "--form", form, "--campaign", full.campaign, *options, "--out", str(out)]) == 0
    assert out.read_bytes() == here(form, wishes)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert " rows" in captured.err


def test_without_a_file_it_goes_to_standard_output(
    here: Callable[[str, Wishes], bytes], full: Filled, capsys: Captured
) -> None:
    assert main(["export", "--form", "reward", "--campaign", full.campaign]) == 0
    captured = capsys.readouterr()
    assert captured.out.encode() == here("reward", Wishes())
    assert captured.err.startswith(f"{len(captured.out.splitlines())} rows; left out: ")


def test_a_terminal_gets_no_file(full: Filled, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["export", "--form", "csv"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: name a file with --out, or send standard output to one.\n")


def test_an_export_is_imported_into_another_data_folder(
    full: Filled, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "everything.jsonl"
    assert main(["export", "--form", "jsonl", "--out", str(file)]) == 0
    monkeypatch.setenv("EFT_DATA_DIR", str(tmp_path / "other"))
    monkeypatch.setenv("EFT_BACKUP", str(tmp_path / "backup"))
    capsys.readouterr()
    assert main(["import", str(file)]) == 0
    assert "2 campaigns" in capsys.readouterr().err
    assert main(["import", str(file)]) == 0
    assert capsys.readouterr().err == "all of it was here already.\n"
    with opened(tmp_path / "ratings.sqlite3") as one, opened(tmp_path / "other" / "ratings.sqlite3") as other:
        assert_same_votes(one, other)
        kept = [line for each in (tmp_path / "backup").glob("*.jsonl") for line in each.read_text().splitlines()]
        assert len(kept) == sum(map(len, rows(other).values()))


def test_campaigns_are_listed(full: Filled, capsys: Captured) -> None:
    assert main(["campaigns"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 2
    [line] = [each for each in listed if each.startswith(full.campaign)]
    assert "running" in line
    assert "3 raters" in line
    assert line.endswith("'A study'")
    assert main(["campaigns", "--json"]) == 0
    assert {each["id"] for each in json.loads(capsys.readouterr().out)} == {full.campaign, full.free}


def test_an_empty_database_says_so(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFT_DATA_DIR", str(tmp_path))
    assert main(["campaigns"]) == 0
    assert "no campaigns yet" in capsys.readouterr().err
    assert main(["export", "--form", "preference"]) == 0
    assert capsys.readouterr().err == "0 rows.\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["export", "--form", "csv", "--campaign", "nonsense"], "there is no campaign 'nonsense' here"),
        (["export", "--form", "csv", "--majority"], "majority is for preference, unpaired, reward"),
        (["export", "--form", "comparator"], "choose one of"),
        (["export", "--form", "csv", "--out", "/nowhere/out.csv"], "/nowhere/out.csv cannot be written"),
        (["import", "/nowhere/in.jsonl"], "/nowhere/in.jsonl cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(full: Filled, capsys: Captured, arguments: list[str], told: str) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert told in captured.err
    assert captured.err.count("\n") == 1


def test_a_database_that_cannot_be_used_is_one_line_too(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ratings.sqlite3").write_text("this is no database, but long enough to be looked at" * 20)
    monkeypatch.setenv("EFT_DATA_DIR", str(tmp_path))
    assert main(["campaigns"]) == 2
    assert (
        capsys.readouterr().err
        == "error: the database is damaged: start the server again, which checks and mends it.\n"
    )


def test_the_commands_load_no_torch(full: Filled) -> None:
    code = (
        "import sys; from eft_core.__main__ import main; main(['export', '--form', 'preference']);"
        "assert main(['campaigns']) == 0;"
        "assert not {'torch', 'transformers', 'gradio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
