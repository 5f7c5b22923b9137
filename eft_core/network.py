"""A checkpoint's network as the library reads it: from safetensors or GGUF on this machine, in the asked format.

Remote code is never run and the network never asked. What rows at different positions cannot run on is refused before
its weights are read, as far as its config tells.
"""

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from eft_core.checkpoint import read_facts
from eft_core.devices import SHARDED, main_device
from eft_core.exhausted import is_out_of_memory
from eft_core.quantised import quantise
from eft_core.supported import FAULTS, Refused, check_config, said

_SLACK = 1_000_000  # numbers, 4 MB, that a config may describe and a file not hold
# A layer's weights, but of the eyes and ears of a model that is used for text alone.
_LAYER = re.compile(r"^(?!.*(vision|audio|mtp)).*\b(layers|h)\.\d+\..+\.(weight|bias)$")


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read, and how. `device` is a device's name or "sharded", which spreads the layers over all devices, the
    CPU, and files in `offload`; `memory` are bytes by device that accelerate may use then. `file` names a GGUF."""

    folder: Path
    dtype: torch.dtype
    device: str = "cpu"
    quantise: str = "none"
    file: str | None = None
    offload: Path | None = None
    memory: dict[int | str, int | str] | None = None


def read(how: Reading) -> nn.Module:
    """The library's own model, ready to run. ValueError with the reason if it cannot be read or served."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoConfig

    if how.device == SHARDED and how.quantise != "none":
        raise ValueError(f"a model that is spread cannot be {how.quantise} too: set EFT_QUANTISE=none, or one device.")
    facts = read_facts(how.folder, how.file)  # before the library follows whatever a header says
    try:
        config = AutoConfig.from_pretrained(how.folder, **_local(how))
        check_config(config)
        _check_size(config, facts.parameters)
        network, told = _from_pretrained(how, config)
    except ImportError as error:
        raise ValueError(f"{how.folder} needs a package that is not installed: {said(error)}") from error
    except (*FAULTS, StrictDataclassError, SafetensorError) as error:
        if is_out_of_memory(error) or isinstance(error, Refused):
            raise
        raise ValueError(f"the model in {how.folder} cannot be read: {said(error)}") from error
    _check_complete(how.folder, told)
    network = network.eval().requires_grad_(False)
    return network if how.quantise == "none" else quantise(network, how.quantise, str(main_device(how.device)))


def _local(how: Reading) -> dict[str, Any]:
    named = {"gguf_file": how.file} if how.file else {}
    return {"local_files_only": True, "trust_remote_code": False, **named}


def _from_pretrained(how: Reading, config: Any) -> tuple[Any, Any]:
    """The network, and what the library tells of missing and odd weights."""
    from transformers import AutoModelForCausalLM, GgufConfig

    text, given = config.get_text_config(), _local(how) | _whither(how)
    if getattr(text, "attn_logit_softcapping", None):
        given["attn_implementation"] = "eager"  # the others do not cap
    if how.file is None:
        given["use_safetensors"] = True
    else:
        # Left packed, a layer is no Linear any more, and its kernels come from the Hub.
        given["quantization_config"] = GgufConfig(dequantize=True)
    load: Any = AutoModelForCausalLM.from_pretrained
    with _quiet():
        return load(how.folder, config=config, dtype=how.dtype, output_loading_info=True, **given)


def _whither(how: Reading) -> dict[str, Any]:
    """Where the weights go as they are read, so that there is no second copy of them."""
    if how.device != SHARDED:
        # What will be quantised lies on the CPU first: the device never holds it whole.
        device = main_device(how.device)
        return {} if device.type == "cpu" or how.quantise != "none" else {"device_map": {"": str(device)}}
    if how.offload is not None:
        how.offload.mkdir(parents=True, exist_ok=True)
    return {"device_map": "auto", "max_memory": how.memory, "offload_folder": how.offload and str(how.offload)}


def _check_size(config: Any, stored: int) -> None:
    """ValueError for a config of far more numbers than its files hold: the library would make up the others in memory,
    however many. Tied weights are counted twice, and several numbers may be packed into one that is stored."""
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    make: Any = AutoModelForCausalLM.from_config
    with torch.device("meta"), no_init_weights():
        meant = sum(parameter.numel() for parameter in make(copy.deepcopy(config)).parameters())
    packed = 8 if getattr(config, "quantization_config", None) else 1
    if meant > 2 * packed * stored + _SLACK:
        raise ValueError(
            f"its config describes {meant:,} numbers and its files hold {stored:,}: download the checkpoint again."
        )


def _check_complete(folder: Path, told: Any) -> None:
    """ValueError where the library would go on with weights that it made up, or without some that are there."""
    wrong = [str(name) for key in ("missing_keys", "mismatched_keys", "error_msgs") for name in told.get(key) or ()]
    if wrong:
        raise ValueError(
            f"the weights in {folder} are not those of its config: {wrong[0]:.120} is missing or of another shape "
            f"({len(wrong)} in all). Download the checkpoint again, or correct its config.json."
        )
    unused = sorted(name for name in told.get("unexpected_keys") or () if _LAYER.search(name))
    if unused:
        raise ValueError(
            f"the weights in {folder} are not those of its config, which has no place for {unused[0]:.120} "
            f"({len(unused)} in all). Download the checkpoint again, or correct its config.json."
        )


class _quiet:
    """The library's progress bars off for a while; that of GGUF files is made of another class than the others."""

    def __enter__(self) -> None:
        from transformers import modeling_gguf_pytorch_utils
        from transformers.utils import logging

        self._unpacking = vars(modeling_gguf_pytorch_utils)
        self._shown, self._bar = logging.is_progress_bar_enabled(), self._unpacking["tqdm"]
        self._unpacking["tqdm"] = logging.tqdm
        logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        from transformers.utils import logging

        self._unpacking["tqdm"] = self._bar
        if self._shown:
            logging.enable_progress_bar()
