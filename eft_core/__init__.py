"""EFT Lab's backend: sampling from what a model would have become under another fine-tuning (arXiv 2310.12962).

    policy, config, settings -> families -> models -> distributions -> decoding -> session

Names are loaded on first use, so that `import eft_core` costs nothing and loads neither torch nor gradio.
"""

from importlib import import_module

_HOMES = (
    dict.fromkeys(("Policy", "Member"), "eft_core.policy")
    | dict.fromkeys(
        ("plain", "tuned", "up_scale", "down_scale", "realign", "interpolate", "amplify"), "eft_core.policy"
    )
    | dict.fromkeys(("Sampling", "Limits", "Row", "Request", "Speculation"), "eft_core.config")
    | {"Settings": "eft_core.settings", "Session": "eft_core.session", "Lab": "eft_core.lab"}
)

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'eft_core' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
