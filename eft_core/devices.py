"""Devices and number formats by name: what a setting means on this machine, and what it has left.

A name is a torch device ("cpu", "cuda:1"), "auto", or "sharded": spread over all devices by accelerate.
"""

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SHARDED = "sharded"


def device_named(name: str, setting: str = "EFT_DEVICE") -> str:
    """The device that a setting means; ValueError with the remedy if this machine has none such."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == SHARDED:
        return name
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"{setting} = {name!r} is not a device: use auto, cpu, cuda, cuda:1 or sharded.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"{setting} asks for cuda, and this machine has none: use auto or cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"{setting} asks for {name}, and there are {torch.cuda.device_count()} GPUs, from cuda:0.")
    return name


def main_device(name: str) -> torch.device:
    """Where a model on the named device takes its ids and gives its logits."""
    return torch.device(device_named("auto") if name == SHARDED else name)


def dtype_named(name: str, device: str, setting: str = "EFT_DTYPE") -> str:
    """The number format that a setting means on a device; ValueError with the remedy if there is none."""
    if name != "auto":
        if name not in DTYPES:
            raise ValueError(f"{setting} = {name!r} is not known: use auto, {', '.join(DTYPES)}.")
        return name
    if main_device(device).type != "cuda":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def available_bytes(device: str) -> int:
    """Memory that a device has left; of "sharded", all devices and the CPU together."""
    import psutil

    left = int(psutil.virtual_memory().available)
    if device == SHARDED:
        return left + sum(torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count()))
    return torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else left
