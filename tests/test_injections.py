"""Whatever texts begin with or hold, files and figures and logs have them as texts: each injection, each writer."""

import asyncio
import csv
import io
import json
import logging
import re
from typing import Any

import pandas as pd
import pytest
from injections import FORMULAS, INJECTIONS

from components import curves, figures
from components.conversation import Context, Turn
from components.earlier import html_of
from components.guard import FAILED, Guard
from eft_core.experiments import documents
from eft_core.experiments import figures as experiment_figures
from eft_core.experiments.report import report
from eft_core.ratings import rating_look
from eft_core.ratings.spreadsheet import spreadsheet

PLOTTERS = (figures._visible, curves._visible, experiment_figures._plain, rating_look.plain, rating_look.wrapped)
WRITTEN = tuple(text for text in INJECTIONS if "\ud83d" not in text)  # a half of a character is in no file


@pytest.mark.parametrize("plot", PLOTTERS, ids=lambda each: f"{each.__module__}.{each.__name__}")
@pytest.mark.parametrize("text", INJECTIONS)
def test_plotly_finds_no_tag_in_a_text(plot: Any, text: str) -> None:
    shown = plot(text).replace("<br>", "")  # its own, between lines
    assert "<" not in shown
    assert ">" not in shown


@pytest.mark.parametrize("text", [*WRITTEN, *(f"a{text}" for text in FORMULAS), "a\r=1+1", "a\r\n=1+1"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_cell_of_a_spreadsheet_is_a_formula(text: str, separator: str) -> None:
    """Also where somebody's spreadsheet takes another separator for granted."""
    for written in (documents.csv([{"said": text, "n": 1}]), spreadsheet(pd.DataFrame([{"said": text}])).decode()):
        for line in written.replace("\r", "\n").replace("\ufeff", "").split("\n"):
            for cell in next(csv.reader([line], delimiter=separator), []):
                assert not cell.lstrip(' "\t').startswith(tuple("=+-@＝＋－＠")), (written, cell)
    [row] = csv.DictReader(io.StringIO(documents.csv([{"said": text, "n": 1}]), newline=""))
    assert row["n"] == "1", "and it is one cell"


@pytest.mark.parametrize("text", WRITTEN)
def test_markdown_has_no_markup_of_a_text(text: str) -> None:
    about: dict[str, Any] = dict.fromkeys(("title", "question", "command", "date", "prompts", "grader"), "x")
    about |= {"machine": {"cpu": "x"}, "seed": 0, "temperature": 0.0, "samples": 1, "items": 8, "answers": 8}
    document = {
        "schema": documents.SCHEMA,
        "experiment": "scales",
        "family": "llama",
        "versions": {"torch": "2"},
        "rows": [{"token": text, "n": 1}],
        "tables": {"T": [{"token": text}]},
        "findings": [{"claim": text, "holds": None}],
        "about": about | {"seconds": 1.0},
    }
    told = report([document], "Title")
    unescaped = re.sub(r"\\.", "", told)
    assert "<" not in unescaped
    assert "](" not in unescaped


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_conversation_is_escaped(text: str) -> None:
    shown = html_of(Context(text, (Turn(text, text, text),)))
    own = re.sub(r"</?(dl|dt|dd|div|span|p)( [a-z-]+=\"[^\"<>]*\")*>", "", shown)
    assert not set("<>\"'") & set(own), own


# --- the log


class Broken:
    """An app that fails at whatever it is asked."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("the details are for the log")


@pytest.mark.parametrize("text", INJECTIONS)
def test_an_address_is_one_line_of_the_log(text: str, caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": f"/{text}"}
    with caplog.at_level(logging.ERROR):
        asyncio.run(Guard(Broken())(scope, receive, send))
    [record] = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 200
    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"]) == {"error": FAILED}
