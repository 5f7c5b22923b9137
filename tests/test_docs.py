"""README and repository say the same: the tree, the commands, the front matter, the pins."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from eft_core.__main__ import _parser
from eft_core.experiments.__main__ import _parser as experiment_options
from eft_core.software import VERSION

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOP_LEVEL = {
    "app.py", "eft_core", "components", "assets", "tests", "requirements.txt", "README.md", "pyproject.toml",
    "requirements-dev.txt", "requirements.lock", "Makefile", "CHANGELOG.md", "LICENSE", "SECURITY.md", ".gitignore",
    ".ci",
}  # fmt: skip


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: the list of files comes from git")
    return listed.stdout.splitlines()


def tree() -> dict[str, str]:
    """Path and remark of every line of the README's tree."""
    block = re.search(r"## Files\n+```text\n(.*?)```", README, re.DOTALL)
    assert block, "the README has a file tree"
    paths: dict[str, str] = {}
    folder = ""
    for line in block.group(1).splitlines():
        indent = len(line) - len(line.lstrip())
        path, _, remark = line.strip().partition("  ")
        if indent == 0:
            folder = path if path.endswith("/") else ""
            paths[path] = remark.strip()
        else:
            paths[folder + path] = remark.strip()
    return paths


def test_top_level_is_as_the_user_fixed_it() -> None:
    assert {path.split("/")[0] for path in tracked()} <= TOP_LEVEL


def test_tree_names_every_module_with_a_remark_and_nothing_that_is_gone() -> None:
    named = tree()
    files = tracked()
    modules = [
        path for path in files if path.endswith((".py", ".js", ".css", ".toml")) and not path.endswith("__init__.py")
    ]
    assert [path for path in modules if path not in named] == []
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert [path for path, remark in named.items() if not remark] == []


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert project["version"] == VERSION
    assert re.search(r"^## (\S+)", changes, re.MULTILINE).group(1) == VERSION  # type: ignore[union-attr]


def test_commands_of_the_readme_parse() -> None:
    commands = re.findall(r"^python -m eft_core (.*)$", README, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        _parser().parse_args(shlex.split(command, comments=True))
    experiments = re.findall(r"^python -m eft_core\.experiments (.*)$", README, re.MULTILINE)
    assert len(experiments) >= 3
    for command in experiments:
        experiment_options().parse_args(shlex.split(command, comments=True))
    targets = set(re.findall(r"^make (\w+)", README, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"run", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_python_example_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    block = re.search(r"## Python.*?```python\n(.*?)```", README, re.DOTALL)
    assert block
    assert len(block.group(1).strip().splitlines()) <= 10
    exec(compile(block.group(1), "README.md", "exec"), {})
    assert "base(large) + [helpful − base](small) ->" in capsys.readouterr().out


def test_front_matter_and_pins_agree() -> None:
    front = README.split("---\n")[1]
    pins = dict(
        re.findall(r"^([a-z]+)==([\d.]+)$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert f"sdk_version: {pins['gradio']}" in front
    assert 'python_version: "3.12"' in front
    assert "app_file: app.py" in front
    assert pins["torch"] == "2.13.0"
    assert pins["plotly"] == "6.9.0"


def test_families_example_of_the_readme_is_a_family(tmp_path: Path) -> None:
    from eft_core.families import read_families

    block = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert block
    tomllib.loads(block.group(1))
    file = tmp_path / "families.toml"
    file.write_text(block.group(1), encoding="utf-8")
    assert read_families(file)["mine"].sizes == ("1b", "8b")


def test_pictures_of_the_readme_exist() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_speeds_of_the_readme_are_those_of_the_committed_benchmark() -> None:
    """Median and interval of every ratio, and the machine and date they were measured on."""
    document = json.loads((ROOT / "assets/benchmarks/atlas-cpu.json").read_text(encoding="utf-8"))
    assert document["identity_passed"] is True
    section = README.partition("### Speed")[2].partition("## Files")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", section, re.MULTILINE))
    assert set(document["ratios"]) <= set(told)
    for name, text in told.items():
        interval = document["intervals"][name]
        assert text == f"{interval['median']:.2f} [{interval['low']:.2f}, {interval['high']:.2f}]", name
    assert document["machine"]["date"] in README


def test_speeds_of_smollm2_are_those_of_the_committed_profile() -> None:
    """Every rate of its table, its ratios, and the date."""
    document = json.loads((ROOT / "assets/benchmarks/smollm2-cpu.json").read_text(encoding="utf-8"))
    section = README.partition("#### Members of SmolLM2's size")[2].partition("## Files")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in section.splitlines() if row.startswith("| ")]
    assert document["machine"]["date"] in section
    real, told = document["real"]["tokens_per_second"], {(row[0], row[1]): row[3:7] for row in rows}
    for kind, weights in (("none", "float32"), ("int8", "int8")):
        assert told["135M-Instruct alone", f"real, {weights}"][1] == f"{real[kind]:.1f}"
    for pair in document["pairs"]:
        size = pair["large"]["name"].removeprefix("smollm2-").upper()
        weights = "float32" if pair["quantise"] == "none" else pair["quantise"]
        rates = pair["runs"][0]["tokens_per_second"]
        assert told[f"{size} with 135M", f"random, {weights}"] == [f"{rate:.1f}" for rate in rates.values()]
        adaptive = pair["runs"][0]["over_plain"]["adaptive"]
        low, high = adaptive["interval"]
        assert f"{adaptive['median']:.2f} [{low:.2f}, {high:.2f}]" in section


def test_load_of_the_readme_is_that_of_the_committed_load_test() -> None:
    """Every number of its table, its bars, and the date."""
    document = json.loads((ROOT / "assets/benchmarks/load.json").read_text(encoding="utf-8"))
    section = README.partition("**Load.**")[2].partition("## On Hugging Face Spaces")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in section.splitlines() if re.match(r"\| \d", row)]
    assert document["machine"]["date"] in section
    times = ("first_token_p50", "first_token_p95", "latency_p50", "latency_p95")
    for row, each in zip(rows, document["rounds"], strict=True):
        speeds = [f"{each['tokens_per_second']:.0f}", *(f"{each[name]:.2f} s" for name in times)]
        assert row == [str(each["visitors"]), f"{each['answers']:,}", *speeds, "0", "0"]
        assert each["failures"] == each["wrong_texts"] == each["cut"] == 0
    assert f"get {document['gain_16_over_1']:.1f} times the tokens/s of one" in section
    assert f"is {document['p95_first_token_ratio_16_over_1']:.1f} times that of one" in section
    assert f"grew by {document['memory_growth']:.1%} over {document['requests']:,} requests" in section


def test_soak_of_the_readme_is_the_committed_one() -> None:
    document = json.loads((ROOT / "assets/benchmarks/soak.json").read_text(encoding="utf-8"))
    section = README.partition("**Soak.**")[2].partition("## On Hugging Face Spaces")[0]
    counts = {"minutes of": document["minutes"], "visitors (": document["visitors"]}
    counts |= {"acts,": sum(document["acts"].values()), "judgements confirmed,": document["confirmed_ratings"]}
    counts |= {"lost,": document["lost_ratings"], "twice;": document["doubled_ratings"]}
    counts |= {"wrong texts,": document["wrong_texts"], "failures,": document["failures"]}
    counts |= {"tracebacks;": document["tracebacks"]}
    assert all(f"{count:,.0f} {what}" in section for what, count in counts.items())
    assert f"warming up {document['memory_growth']:+.1%}." in section
    assert document["machine"]["date"] in section
