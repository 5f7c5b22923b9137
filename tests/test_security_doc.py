"""SECURITY.md says what is so: its tests exist, its commands too, and its settings are those that are served."""

import re
from pathlib import Path

import pytest
from packaging.version import Version
from serving import ROOT

from app import launch_options
from eft_core.settings import Settings
from eft_core.supply.lock import PINS, read_lock, read_pins

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(?:tests/)?(test_\w+\.py)(?:::(test_\w+))?`", TEXT)
PROMISES = TEXT.partition("## Promises\n")[2].partition("\n## ")[0]


def rows(section: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_test_that_it_names_exists() -> None:
    assert len(NAMED) >= 50
    missing = []
    for file, test in NAMED:
        path = ROOT / "tests" / file
        found = path.is_file() and (not test or f"def {test}(" in path.read_text(encoding="utf-8"))
        if not found:
            missing.append(f"{file}::{test}")
    assert missing == []


def test_every_promise_names_a_test() -> None:
    promises = rows(PROMISES)
    assert len(promises) >= 15
    assert [promise for promise, _, tests in promises if "test_" not in tests] == []


def test_its_sections_are_there() -> None:
    heads = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    for head in ("Promises", "Faults", "Hostile input", "Load", "Not promised", "Dependencies", "To report a flaw"):
        assert head in heads


def test_its_commands_and_settings_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {target for line in re.findall(r"^make ([a-z -]+)", TEXT, re.MULTILINE) for target in line.split()}
    assert targets >= {"locked", "audit", "lock", "licences"}
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
    known = (ROOT / "eft_core" / "settings.py").read_text(encoding="utf-8")
    assert [name for name in set(re.findall(r"EFT_[A-Z_]+", TEXT)) if name not in known] == []


def test_known_flaws_are_mended_in_the_pinned_gradio() -> None:
    pinned = read_pins(PINS.read_text(encoding="utf-8"))["gradio"]
    assert f"The pin is {pinned};" in TEXT
    flaws = rows(TEXT.partition("## Known flaws of gradio\n")[2].partition("\n## ")[0])
    assert len(flaws) >= 10
    assert [flaw for flaw, mended, _ in flaws if Version(mended) > Version(pinned)] == []
    (brotli,) = [each.version for each in read_lock((ROOT / "requirements.lock").read_text()) if each.name == "brotli"]
    assert Version(brotli) >= Version("1.2.1")


# What it says is never used: gradio's way to other servers, its file browser and its own passwords; pickled code.
NEVER = {
    r"\bgr\.load\(": (),
    r"\bgr\.FileExplorer\b": (),
    r"\ballowed_paths\b": (),
    r"\bset_static_paths\b": (),
    r"\bauth=": (),
    r"\btrust_remote_code=True\b": (),
    r"\bjit\.script\b": (),
    r"\btorch\.load\b": ("eft_core/converting.py", "eft_core/atlas/train.py"),  # on command, and of files of its own
    r"\bpickle\.loads?\(": ("eft_core/link.py", "eft_core/worker.py"),  # through the pipes between them, of their own
}


@pytest.mark.parametrize("pattern", NEVER)
def test_what_it_says_is_never_used_is_not(pattern: str) -> None:
    files = [ROOT / "app.py", *(ROOT / "components").rglob("*.py"), *(ROOT / "eft_core").rglob("*.py")]
    used = [str(file.relative_to(ROOT)) for file in files if re.search(pattern, file.read_text(encoding="utf-8"))]
    assert set(used) <= set(NEVER[pattern])


def test_the_page_is_served_with_what_this_document_says(tmp_path: Path) -> None:
    options = launch_options(Settings(data_dir=str(tmp_path)))
    for switched_off in ("show_error", "share", "run_history", "enable_monitoring", "ssr_mode", "pwa"):
        assert options[switched_off] is False, switched_off
    assert options["blocked_paths"] == [str(tmp_path)]
    assert not {"allowed_paths", "auth", "mcp_server"} & set(options)
    assert "strict_cors" not in options  # strict is gradio's default
    assert 'GRADIO_ANALYTICS_ENABLED"] = "False"' in (ROOT / "app.py").read_text(encoding="utf-8")
