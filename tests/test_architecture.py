"""The arrows of the flow point one way: read from the source, not from what happens to run."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "eft_core"

# Who stands before whom. A module imports only from those before it.
FLOW = (
    "software",
    "allocator",
    "checks",
    "logs",
    "standing",
    "policy",
    "config",
    "bounds",
    "settings",
    "allowance",
    "durable",
    "schema",
    "presence",
    "database",
    "sqlite_file",
    "storage",
    "trace",
    "events",
    "tickets",
    "intervals",
    "grid",
    "journal",
    "tables",
    "items",
    "hub_sets",
    "prompt_sets",
    "graders",
    "judge_client",
    "judging",
    "trials",
    "scores",
    "drafter",
    "draft_length",
    "pacing",
    "located",
    "bounded",
    "template",
    "prompting",
    "family",
    "families",
    "speculation_options",
    "policy_options",
    "headers",
    "gguf_header",
    "conversation_options",
    "safety",
    "checkpoint",
    "saved_runs",
    "memory",
    "supported",
    "hub_errors",
    "hub_files",
    "hub",
    "traits",
    "id_map",
    "doctor",
    "vocabulary",
    "toml",
    "detokenize",
    "token_text",
    "document",
    "standalone",
    "hardware",
    "random_stream",
    "kv_cache",
    "captured",
    "lean",
    "exhausted",
    "devices",
    "quantised",
    "network",
    "adapters",
    "model",
    "weights",
    "models",
    "distributions",
    "measures",
    "recorder",
    "sampling",
    "lane",
    "batch",
    "continuation",
    "scoring",
    "autoregressive",
    "verification",
    "proposals",
    "speculative_rows",
    "speculative",
    "job",
    "jobs",
    "transcript",
    "narrator",
    "crowd",
    "engine",
    "scripts",
    "session",
    "messages",
    "worker",
    "link",
    "remote",
    "lab",
    "running",
    "answering",
    "sweep",
    "cases",
    "failures",
    "looking",
    "listing",
    "doctoring",
    "downloading",
    "converting",
    "__main__",
)
TORCH_FREE = (*FLOW[: FLOW.index("random_stream")], "__main__")
MODULES = sorted(CORE.glob("*.py"))


def imports(file: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide the flow"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(file: Path) -> set[str]:
    """Modules of the core that a file imports."""
    parts = {name.split(".")[1] for name in imports(file) if name.startswith("eft_core.")}
    return parts & {module.stem for module in MODULES}


def test_every_module_of_the_core_has_its_place_in_the_flow() -> None:
    assert {module.stem for module in MODULES} - {"__init__"} == set(FLOW)


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.stem)
def test_no_arrow_points_back(file: Path) -> None:
    if file.stem == "__init__":
        assert ours(file) == set()
        return
    late = [name for name in ours(file) if FLOW.index(name) >= FLOW.index(file.stem)]
    # the command line reaches the session inside a function, and nothing reaches the command line
    assert late == []


def test_the_check_would_see_an_arrow_that_points_back(tmp_path: Path) -> None:
    wrong = tmp_path / "config.py"
    wrong.write_text("def f():\n    from eft_core.session import Session\n    import eft_core.models\n")
    assert ours(wrong) == {"session", "models"}


def test_the_first_modules_import_next_to_nothing_of_ours() -> None:
    assert ours(CORE / "checks.py") == set()
    assert ours(CORE / "policy.py") == {"checks"}
    assert ours(CORE / "config.py") == {"checks", "policy"}
    assert ours(CORE / "events.py") == {"policy", "trace"}
    assert ours(CORE / "trace.py") == {"policy"}


def test_storage_knows_neither_models_nor_decoding() -> None:
    assert ours(CORE / "schema.py") == set()
    assert ours(CORE / "database.py") <= {"schema"}
    assert ours(CORE / "storage.py") == {"settings", "database", "presence", "schema"}
    for file in (CORE / "ratings").glob("*.py"):
        assert ours(file) <= {*TORCH_FREE, "ratings", "experiments"}, file


@pytest.mark.parametrize("file", sorted(CORE.rglob("*.py")), ids=lambda file: str(file.relative_to(CORE)))
def test_the_core_knows_no_page(file: Path) -> None:
    roots = {name.split(".")[0] for name in imports(file)}
    assert not roots & {"gradio", "gradio_client", "components", "app"}


RATINGS = [f"eft_core.ratings.{file.stem}" for file in sorted((CORE / "ratings").glob("*.py")) if file.stem[0] != "_"]


@pytest.mark.parametrize("name", ["eft_core", *(f"eft_core.{module}" for module in TORCH_FREE), *RATINGS])
def test_light_modules_load_neither_torch_nor_transformers(name: str) -> None:
    code = f"import sys, {name}; print([m for m in ('torch', 'transformers', 'gradio') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_listing_families_loads_no_torch() -> None:
    code = "import sys; from eft_core.__main__ import main; main(['families']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
