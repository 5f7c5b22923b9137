"""Which architectures this loop can serve, as far as a config tells: asked before weights are read, or downloaded.

Rows of one batch stand at different positions, which some kinds of attention cannot do (`batch`). No torch.
"""

from pathlib import Path
from typing import Any, NoReturn

_KNOWN = "Llama, Qwen2, Qwen3, Gemma 2 and 3, OLMo 2, Granite, GPT-2, GPT-NeoX and rotary Falcon"
# What the library raises on files that are not what they say.
FAULTS = (
    OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RuntimeError,
)  # fmt: skip


class Refused(ValueError):
    """A refusal that says all there is to say."""


def check_folder(folder: Path) -> None:
    """ValueError unless the config in a folder is of an architecture that is served. The network is never asked."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        check_config(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
    except Refused:
        raise
    except (*FAULTS, ImportError, StrictDataclassError) as error:
        raise ValueError(f"the config in {folder} cannot be read: {said(error)}") from error


def check_config(config: Any) -> None:
    """ValueError for architectures that rows at different positions cannot run on."""
    text = config.get_text_config()
    kinds = {*(getattr(text, "layer_types", None) or ()), *(getattr(text, "layers_block_type", None) or ())}
    reasons = {
        "it is an encoder and a decoder": config.is_encoder_decoder,
        "its positions are alibi, a bias by whole-batch position": getattr(text, "alibi", False)
        or config.model_type in ("bloom", "mpt"),
        "it has linear or chunked attention": bool(kinds - {"full_attention", "sliding_attention", "attention"}),
    }
    for reason, applies in reasons.items():
        if applies:
            refuse(config, reason)


def refuse(config: Any, reason: str) -> NoReturn:
    """ValueError for a model that this loop cannot serve."""
    name = (config.architectures or [config.model_type])[0]
    raise Refused(
        f"{name} cannot decode rows at different positions: {reason}. Models of the architectures {_KNOWN} can."
    )


def said(error: BaseException) -> str:
    """The beginning of what an error says, on one line."""
    if isinstance(error, KeyError):
        return f"this version of transformers knows no {error}."
    return " ".join(str(error).split())[:300] or type(error).__name__
