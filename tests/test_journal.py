"""A journal survives its writer, and holds one run alone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eft_core.journal import Journal, digest, parse

HEAD, ABOUT = {"kind": "test", "values": [1, 2]}, {"date": "today"}


def written(path: Path, *lines: dict[str, object]) -> None:
    with Journal(path, HEAD, ABOUT) as journal:
        for line in lines:
            journal.append(line)


def test_lines_come_back_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.jsonl"
    written(path, {"n": 1}, {"n": 2, "text": "a\u2028b\nc 🧪 \ud800"})
    with Journal(path, HEAD, {"date": "tomorrow"}) as journal:
        assert [line["n"] for line in journal.lines] == [1, 2]
        journal.append({"n": 3})
    first, lines = parse(path.read_text(), "run")
    assert first == {"head": HEAD, "date": "today"}
    assert [line["n"] for line in lines] == [1, 2, 3]
    assert lines[1]["text"] == "a\u2028b\nc 🧪 \ud800"


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_line_is_lost_alone(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "run.jsonl"
    written(path, {"n": 1}, {"n": 2, "t": "é"})
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Journal(path, HEAD, ABOUT) as journal:
        assert [line["n"] for line in journal.lines] == [1]
        journal.append({"n": 2, "t": "é"})
    assert path.read_bytes() == whole


def test_a_head_that_was_torn_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    written(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:9])
    written(path)
    assert path.read_bytes() == whole


def test_another_run_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    written(path, {"n": 1})
    with pytest.raises(ValueError, match="another run"):
        Journal(path, HEAD | {"values": [1, 3]}, ABOUT)
    with Journal(path, HEAD, ABOUT) as journal:  # and the refusal holds no lock
        assert journal.lines == [{"n": 1}]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Journal(path, HEAD, ABOUT), pytest.raises(ValueError, match="another process"):
        Journal(path, HEAD, ABOUT)


def test_a_killed_writer_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    code = (
        "import sys; from pathlib import Path; from eft_core.journal import Journal\n"
        f"journal = Journal(Path({str(path)!r}), {HEAD!r}, {ABOUT!r})\n"
        "for n in range(10**9):\n    journal.append({'n': n}); print(n, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    with Journal(path, HEAD, ABOUT) as journal:
        kept = [line["n"] for line in journal.lines]
    assert kept[: len(told)] == told == list(range(len(told)))


@pytest.mark.parametrize("text", ["", "[1]\n", "no json\n", '{"a": 1}\nnull\n', "[" * 100_000 + "\n"])
def test_what_is_no_journal_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"strange\.jsonl"):
        parse(text, "strange.jsonl")


def test_the_same_head_has_the_same_name() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest(json.loads('{"b": [1, 2], "a": 1}'))
    assert digest({"a": 1}) != digest({"a": 2})
    assert len(digest(HEAD)) == 16


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="EFT_DATA_DIR"):
        Journal(tmp_path / "file" / "run.jsonl", HEAD, ABOUT)
    assert os.listdir(tmp_path) == ["file"]
