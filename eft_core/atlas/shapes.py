"""The shapes of Atlas: sizes, stages, where each checkpoint lies, and how long each is trained."""

from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).resolve().parents[2] / "assets" / "models" / "atlas"
CONTEXT = 512
VOCABULARY = 2048
BEGIN, END = "<|begin|>", "<|end|>"

# One user turn renders to the plain question form that pre-training knows: with chat tokens that the bases never
# saw, their log-probabilities, and so every delta, would be noise (ATLAS.md, "What mattered", 1).
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}Question: {{ message['content'] | trim }}\nAnswer:"
    "{% elif message['role'] == 'assistant' %} {{ message['content'] | trim }}\n"
    "{% else %}{{ raise_exception('Atlas knows the roles user and assistant only.') }}{% endif %}"
    "{% endfor %}"
)


@dataclass(frozen=True, slots=True)
class Size:
    """One size: its Llama shape, and the learning rate of its pre-training (the smaller the model, the higher)."""

    name: str
    layers: int
    width: int
    inner: int
    pretrain_rate: float
    seed: int = 0

    @property
    def heads(self) -> int:
        return self.width // 32


SIZES = (
    Size("small", layers=2, width=64, inner=176, pretrain_rate=4e-3, seed=2),
    Size("medium", layers=3, width=96, inner=256, pretrain_rate=3e-3),
    Size("large", layers=6, width=192, inner=512, pretrain_rate=2e-3),
)

BEHAVIOURS = {"helpful": ("small", "medium", "large"), "harmless": ("small", "medium", "large"), "concise": ("small",)}


def checkpoint(size: str, stage: str) -> Path:
    """The folder of one checkpoint; `stage` is `base` or a behaviour."""
    return MODELS / f"{size}-{stage}"
