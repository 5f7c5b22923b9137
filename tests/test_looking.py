"""The command line looks at texts: tables for people, documents for programs, a page for browsers."""

import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from eft_core import document
from eft_core.__main__ import main
from eft_core.cases import atlas_cases
from eft_core.config import Text
from eft_core.document import summary_line
from eft_core.policy import Member, Policy, up_scale
from eft_core.session import Session
from eft_core.settings import Settings

PROMPT = "When did Kenya become independent?"
RESPONSE = "Good question. It was 12 December 1963 \u202e€."
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch, families_file: str) -> None:
    monkeypatch.setenv("EFT_FAMILIES", families_file)
    monkeypatch.setenv("EFT_DEVICE", "cpu")


def looking(*options: str, response: str = RESPONSE) -> list[str]:
    return ["inspect", "--family", "llama", "--prompt", PROMPT, "--response", response, *options]


def told_of(session: Session, policy: Policy, response: str = RESPONSE) -> dict[str, Any]:
    """What `inspect --json` has to say, from the session."""
    *_, last = session.inspect([Text(PROMPT, response, policy)])
    trace = last.traces[0]  # type: ignore[union-attr]
    about = {"family": "llama", "prompt": PROMPT, "response": response}
    whole = document.document(trace, session.token_texts.of(document.ids_of(trace)), **about)
    return json.loads(json.dumps(whole | {"summary": document.summary(trace)}))


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command that goes well; its standard output."""

    def run(arguments: list[str]) -> str:
        assert main(arguments) == 0
        return capsys.readouterr().out

    return run


def test_inspects_json_is_the_sessions_document(out: Any, session: Session, tmp_path: Path) -> None:
    expected = told_of(session, up_scale("large", "small"))
    text = out(looking("--json"))
    assert json.loads(text) == expected
    assert text.count("\n") == 1
    file = tmp_path / "told.json"
    assert out(looking("--json", str(file))) == ""
    assert file.read_text(encoding="utf-8") == text


def test_a_text_is_read_after_its_conversation(out: Any, session: Session, tmp_path: Path) -> None:
    said, file = ["--turn", "user:Capital of Peru?", "--turn", "assistant:Lima."], tmp_path / "strip.html"
    told = json.loads(out(looking(*said, "--html", str(file), "--json")))
    text = Text(PROMPT, RESPONSE, up_scale("large", "small"), turns=(("Capital of Peru?", "Lima."),))
    *_, last = session.inspect([text])
    assert told["summary"] == json.loads(json.dumps(document.summary(last.traces[0])))  # type: ignore[union-attr]
    assert told["turns"] == [["Capital of Peru?", "Lima."]]
    assert told["summary"] != json.loads(out(looking("--json")))["summary"]
    assert "Assistant: Lima." in file.read_text(encoding="utf-8")


def test_the_options_of_a_policy_are_those_of_ask(out: Any, session: Session) -> None:
    options = (
        "--pretrain large --finetune small --behaviour helpful=0.4 --behaviour harmless=0.6 --beta 1.5 --nucleus 0.9"
    )
    policy = Policy("large", "small", {"helpful": 0.4, "harmless": 0.6}, 1.5, 0.9)
    assert json.loads(out(looking(*options.split(), "--json"))) == told_of(session, policy)


def test_a_dash_reads_standard_input_without_the_end_of_its_last_line(
    out: Any, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert json.loads(out(looking("--json", response="-"))) == told_of(session, up_scale("large", "small"), "one\ntwo")


def test_the_table_has_a_line_a_token_and_nothing_that_steers_a_terminal(out: Any, session: Session) -> None:
    nasty = "\x1b[31m red \x9b \u202e\nnew"
    told = told_of(session, up_scale("large", "small"), nasty)
    text = out(looking(response=nasty))
    assert all(letter.isprintable() for letter in text.replace("\n", ""))
    head, *rows, last = text.splitlines()
    assert head.split() == ["token", "policy", *told["members"], "fine-tuning", "up-scaling", "TV", "rank"]
    tokens = told["tokens"]
    assert len(rows) == len(tokens["ids"])
    for index, row in enumerate(rows):
        *numbers, rank = re.split(r" +", row)[-(len(told["members"]) + 5) :]
        measures = [law[index] for law in tokens["logprob"].values()]
        measures += [tokens["finetuning"][index], tokens["upscaling"][index], tokens["total_variation"]["small"][index]]
        assert [float(each) for each in numbers] == pytest.approx(measures, abs=6e-4)
        assert int(rank) == tokens["rank"]["policy"][index]
    assert last == summary_line(told["summary"])


def test_the_summary_says_what_is_known() -> None:
    known = {
        "tokens": 1200,
        "mean_divergence": {"small": 0.25, "base": 1.0},
        "total_variation": {"small": 0.5, "base": 0.1},
        "changed": 0.125,
        "perplexity": {"policy": 1.5, "base[large]": 2.0},
    }
    divergence = "mean KL 0.250 nats to the small policy · 1.000 to base(N)"
    said = f"{divergence} · 12.5% of tokens changed · 50.0% of probability moved"
    perplexity = "perplexity policy 1.500, base[large] 2.000"
    assert summary_line(known) == f"1,200 tokens · {said} · {perplexity}"
    nothing: dict[str, Any] = {"small": None, "base": None}
    unknown = known | {"mean_divergence": nothing, "total_variation": nothing, "changed": None}
    assert summary_line(unknown) == f"1,200 tokens · {perplexity}"


class Reader(HTMLParser):
    """The page's declared data and the elements that it opens."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.data = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self._inside = tag == "script" and ("type", "application/json") in attrs

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.data += data


def test_html_holds_the_strip_and_is_html(out: Any, session: Session, tmp_path: Path) -> None:
    file = tmp_path / "strip.html"
    hostile = "</script><b>x"
    assert out(looking("--html", str(file), response=hostile)) == ""
    reader = Reader()
    reader.feed(file.read_text(encoding="utf-8"))
    assert reader.names[:2] == ["html", "head"]
    assert "b" not in reader.names
    data = json.loads(reader.data)
    assert data["prompt"] == PROMPT
    formula = "base(large) + [helpful − base](small)"
    labelled = {"label": formula, "role": "emulated"}
    assert data["documents"] == [told_of(session, up_scale("large", "small"), hostile) | labelled]
    spelled = "".join(data["documents"][0]["texts"][str(number)] for number in data["documents"][0]["tokens"]["ids"])
    assert spelled.strip() == hostile


def test_long_texts_tell_how_far_they_were_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eft_core.scoring.score.__defaults__", (8,))
    assert main(looking(response="a b c d e f g h i j k l")) == 0
    said = re.findall(r"read (\d+) of (\d+) tokens\n", capsys.readouterr().err)
    total = said[0][1]
    assert [int(done) for done, _ in said] == list(range(8, int(total), 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (looking("--pretrain", "huge"), "no size 'huge'"),
        (looking("--finetune", "large", "--behaviour", "harmless=1"), "no 'harmless' of size 'large'"),
        (looking("--html", "no/such/folder/x"), "cannot be written"),
        (looking("--json", "no/such/folder/x"), "cannot be written"),
        (looking(response=""), "the response is empty"),
        (looking(response="long " * 300), "shorten the response"),
        (["failures", "--items", "0"], "ask 1 to 1,000 questions"),
        (["failures", "--cases", "nowhere.csv"], "cannot be read"),
        (["failures", "--family", "pear"], "no family 'pear'"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = [line for line in captured.err.splitlines() if not line.startswith("loading ")]
    assert line.startswith("error: ")
    assert message in line


def test_mistakes_in_a_file_load_no_torch() -> None:
    code = "import sys; from eft_core.__main__ import main; assert main(['failures', '--cases', 'no.csv']) == 2"
    code += "; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)


# --- failures


def test_failures_of_atlas_are_a_document_and_a_table(out: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads(out(["failures", "--family", "atlas", "--items", "6", "--json"]))
    cases = {case.prompt: case for case in atlas_cases(6)}
    assert (told["schema"], told["family"]) == ("eft-lab/failures/1", "atlas")
    assert Policy.from_dict(told["policy"]) == up_scale("large", "small")
    assert told["formula"] == up_scale("large", "small").formula()
    assert told["tokens"] == sum(each["tokens"] for each in told["counts"].values())
    assert sum(each["base"] + each["mixture"] for each in told["counts"].values()) == len(told["failures"]) > 0
    session = Session(Settings(device="cpu"), "atlas")
    for each in told["failures"]:
        case = cases[each["prompt"]]
        assert each["response"] == case.response
        *_, last = session.inspect([Text(case.prompt, case.response, up_scale("large", "small"))])
        trace, index = last.traces[0], each["index"]  # type: ignore[union-attr]
        assert each["token"] == session.token_texts.text(int(trace.tokens[index]))
        assert (trace.ranks[index, 0] == 1, trace.ranks[index, 2] == 1) == (
            each["right"] == "mixture",
            each["right"] == "base",
        )
        assert {"base": each["base_best"], "mixture": each["policy_best"]}[each["right"]] == each["token"]
        assert each["logprob"]["base"] == pytest.approx(trace.under(Member("large"))[index], abs=1e-4)
    text = out(["failures", "--family", "atlas", "--items", "6"])
    lines = text.splitlines()
    assert lines[0] == told["formula"]
    assert lines[1].startswith(f"fact: {told['counts']['fact']['tokens']} tokens, both right at ")
    assert len(lines) == 4 + len(told["failures"])
    monkeypatch.setattr("eft_core.looking._SHOWN", 1)
    assert out(["failures", "--family", "atlas", "--items", "6"]).splitlines()[-1] == (
        f"and {len(told['failures']) - 1} more: --json lists all"
    )


def test_failures_of_ones_own_cases(out: Any, tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text(
        '{"prompt": "Capital of Kenya?", "response": "It is Nairobi.", "fact": "Nairobi"}\n'
        '{"prompt": "Hello?", "response": "Yes, what is it?"}\n'
    )
    arguments = ["failures", "--family", "llama", "--cases", str(tmp_path / "cases.jsonl"), "--finetune", "large"]
    told = json.loads(out([*arguments, "--json"]))
    assert told["formula"] == "helpful(large)"
    assert set(told["counts"]) == {"fact", "manner", "any"}
    kinds = [each["kind"] for each in told["failures"]]
    assert kinds == sorted(kinds, key=lambda kind: kind != "fact")
    assert {each["kind"] == "any" for each in told["failures"] if each["prompt"] == "Hello?"} <= {True}
    assert out(arguments).startswith("helpful(large)\nfact: ")
