"""LoRA adapters switched on their base, so that a base and its tuned models cost one copy of the weights.

The arithmetic is peft's, which is optional. Only adapters that leave the base as it is are taken: with all of them off
the base gives the same numbers as before, bit by bit. One request runs at a time, so the switch is the network's state.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from eft_core.exhausted import is_out_of_memory
from eft_core.safety import check_adapter, read_json

_STATE = "_eft_adapters"  # the attribute of a network that holds its `_Attached`
# What adapter_config.json may set. Anything else there changes the base, or more than matrices of its layers.
_HARMLESS = [
    "peft_type",
    "task_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "r",
    "target_modules",
    "exclude_modules",
    "lora_alpha",
    "lora_dropout",
    "fan_in_fan_out",
    "use_rslora",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "megatron_core",
    "use_dora",
    "qalora_group_size",
]


@dataclass(slots=True)
class _Attached:
    """The adapters of a network: peft's name of each, the layers that they change, and which one is on."""

    names: dict[str, str] = field(default_factory=dict)
    layers: list[Any] = field(default_factory=list)
    on: str | None = None


def attach(network: nn.Module, folder: Path, name: str) -> None:
    """Put the adapter in `folder` onto a loaded network, switched off. ValueError with the remedy if it does not fit.

    A name that is attached already is refused; where an adapter does not fit, the network is as it was.
    """
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise ValueError(f"the adapter {name} needs a package: pip install peft==0.21.2.") from error
    check_adapter(folder)
    _check_config(folder)
    state: _Attached = getattr(network, _STATE, None) or _Attached()
    if name in state.names:
        raise ValueError(f"the adapter {name} is attached already: use it, or give the other one a name of its own.")
    if any(parameter.is_meta for parameter in network.parameters()):
        raise ValueError(
            f"the adapter {name} needs its base in memory, not in files: use a smaller base, or more memory."
        )
    inner = f"adapter{len(state.names)}"
    try:
        _inject(network, folder, inner)
    except (ValueError, LookupError, RuntimeError, TypeError, AttributeError) as error:
        _remove(network, inner)
        if is_out_of_memory(error):
            raise
        raise ValueError(
            f"the adapter in {folder} does not fit its base: {_first_line(error)}. Use the base that its "
            "adapter_config.json names."
        ) from error
    finally:
        network.eval().requires_grad_(False)
        state.layers, state.on = _layers(network), None
        for layer in state.layers:
            layer.enable_adapters(False)
        setattr(network, _STATE, state)
    state.names[name] = inner


def has_adapters(network: nn.Module) -> bool:
    """Whether anything was attached."""
    state: _Attached | None = getattr(network, _STATE, None)
    return state is not None and bool(state.layers)


def use(network: nn.Module, name: str | None) -> None:
    """Switch an adapter on and the others off, or all off (None). Nothing is done where it is so already."""
    state: _Attached = getattr(network, _STATE, None) or _Attached()
    if state.on == name:
        return
    if name is not None and name not in state.names:
        raise ValueError(f"no adapter {name} is attached, but {', '.join(state.names) or 'none'}: attach it first.")
    # peft's own way goes through all weights for their gradients, and Module's through all kinds of attributes.
    now = {"_disable_adapters": name is None, "_active_adapter": [] if name is None else [state.names[name]]}
    for layer in state.layers:
        vars(layer).update(now)
    state.on = name


def _check_config(folder: Path) -> None:
    """ValueError for an adapter that is more than LoRA on matrices."""
    config = read_json(folder / "adapter_config.json")
    odd = [key for key in sorted(config) if key not in _HARMLESS and config[key] not in (None, False, {}, [], "none")]
    # How training began tells nothing, unless the base was changed for it.
    if config.get("init_lora_weights", True) in (True, "gaussian", "orthogonal", "eva"):
        odd = [key for key in odd if key not in ("init_lora_weights", "eva_config")]
    if odd:
        raise ValueError(
            f"the adapter in {folder} sets {odd[0]}, which changes more than LoRA does: merge it into its base (peft's "
            "merge_and_unload) and use the merged checkpoint."
        )


def _inject(network: nn.Module, folder: Path, inner: str) -> None:
    """Make the adapter's layers and fill them; an error if the file holds other weights than they need."""
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode, config.init_lora_weights = True, True
    file = load_file(folder / "adapter_model.safetensors")
    given = {name.removeprefix("base_model.model."): weight for name, weight in file.items()}
    try:
        inject_adapter_in_model(config, network, inner)
        given = _without_copies(network, given)
        mine = (name.replace(f".{inner}", "") for name in network.state_dict() if f".{inner}" in name)
        wanted = {name.replace("magnitude_vector.weight", "magnitude_vector") for name in mine}
        if odd := sorted(wanted.symmetric_difference(given)):
            where = "missing in its file" if odd[0] in wanted else "in its file and has no place"
            raise ValueError(f"{odd[0]:.120} is {where} ({len(odd)} such)")
        set_peft_model_state_dict(network, given, adapter_name=inner)
    finally:
        vars(network).pop("peft_config", None)  # with it peft takes every further adapter for a mistake


def _without_copies(network: nn.Module, given: dict[str, Any]) -> dict[str, Any]:
    """An adapter's weights but for the base's own embeddings and head, which peft saves beside adapters of them."""
    own = network.state_dict()
    copies = [name for name in given if name.endswith(".base_layer.weight") and name in own]
    for name in copies:
        if own[name].shape != given[name].shape or not own[name].cpu().to(given[name].dtype).equal(given[name]):
            raise ValueError(f"{name:.120} in its file is not the base's")
    return {name: weight for name, weight in given.items() if name not in copies}


def _layers(network: nn.Module) -> list[Any]:
    """The layers that adapters change."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in network.modules() if isinstance(module, BaseTunerLayer)]


def _remove(network: nn.Module, inner: str) -> None:
    """Take an adapter off again, and the layers away that were made for it alone."""
    made = {id(layer) for layer in _layers(network)}
    for parent in list(network.modules()):
        children: list[tuple[str, Any]] = [each for each in parent.named_children() if id(each[1]) in made]
        for name, child in children:
            vars(child).update(_active_adapter=[])  # else peft warns that another becomes active
            child.delete_adapter(inner)
            if not child._all_available_adapter_names():
                setattr(parent, name, child.get_base_layer())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
