"""Where a checkpoint lies and how it is to be read: a folder or a Hub id, and what a families file says beside it.

Reads no file of a checkpoint; knows no torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
# Bits of a linear layer's weights: int8 on any device, int4 on a GPU (`quantised`).
Quantisation = Literal["none", "int8", "int4"]
_KEYS = ("model", "revision", "file", "adapter", "device", "dtype", "quantise")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An absolute folder, or a Hub id with an optional revision; and what the families file says of reading it.

    `file` is the GGUF file in it, where the weights are not safetensors. `adapter` is a LoRA adapter on this
    checkpoint. `device`, `dtype` and `quantise` go before the settings of the session.
    """

    location: str
    revision: str | None = None
    local: bool = True
    file: str | None = None
    adapter: "Checkpoint | None" = None
    device: str | None = None
    dtype: str | None = None
    quantise: Quantisation | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        adapter = f" with the adapter {self.adapter}" if self.adapter else ""
        return f"{self.location}{revision}{adapter}"

    @property
    def weights_file(self) -> str:
        """The file without which there are no weights, or none that this checkpoint means."""
        return self.file or "config.json"

    def folder(self) -> Path:
        """The folder of its files. ValueError with the remedy when nothing is there; the network is not asked."""
        path = Path(self.location) if self.local else self._snapshot(self.weights_file)
        try:
            there = (path / self.weights_file).is_file()
        except OSError as error:  # a folder that may not be entered
            raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
        if not there:
            raise ValueError(
                f"no checkpoint in {path}: {self.weights_file} is missing; correct the path in the families file."
            )
        return path

    def present(self) -> bool:
        """Whether the files are on this machine, its adapter's included."""
        try:
            return self.folder().is_dir() and (self.adapter is None or self.adapter.adapter_folder().is_dir())
        except ValueError:
            return False

    def adapter_folder(self) -> Path:
        """The folder of an adapter's files, which has no config.json of a model."""
        path = Path(self.location) if self.local else self._snapshot("adapter_config.json")
        if not (path / "adapter_config.json").is_file():
            raise ValueError(f"no adapter in {path}: adapter_config.json is missing; correct the families file.")
        return path

    def _snapshot(self, file: str) -> Path:
        """The folder in the Hub's cache that holds `file` of this checkpoint."""
        from huggingface_hub import try_to_load_from_cache

        # snapshot_download would ask for every file of the repository, pickles and pictures too.
        found = try_to_load_from_cache(self.location, file, revision=self.revision)
        if not isinstance(found, str):
            raise ValueError(f"{self} is not on this machine: {self.remedy}")
        return Path(found).parent

    @property
    def remedy(self) -> str:
        """How its files come to this machine."""
        revision = f"@{self.revision}" if self.revision else ""
        file = f" --file {self.file}" if self.file else ""
        return f"run `python -m eft_core download {self.location}{revision}{file}` once, then try again."

    @classmethod
    def read(cls, value: Any, folder: Path, where: str) -> Self:
        """From a families file: a text (see `locate`), or a table with `model` and what else there is to say."""
        if isinstance(value, str) and value:
            return cls(**_place(value, folder))
        if not isinstance(value, dict) or not isinstance(value.get("model"), str):
            raise ValueError(f'{where} must be a path or Hub id, or a table such as {{ model = "org/name" }}.')
        if unknown := sorted(set(value) - set(_KEYS)):
            raise ValueError(f"{where} has the unknown key {unknown[0]!r}; the keys are {', '.join(_KEYS)}.")
        texts = {key: text for key, text in value.items() if key not in ("model", "adapter")}
        if not all(isinstance(text, str) and text for text in texts.values()):
            raise ValueError(f"{where}: {', '.join(texts)} must be texts.")
        if texts.get("quantise", "none") not in get_args(Quantisation):
            raise ValueError(
                f"{where}: quantise = {texts['quantise']!r} is none of {', '.join(get_args(Quantisation))}."
            )
        if "/" in texts.get("file", "") or texts.get("file", ".").startswith(".."):
            raise ValueError(
                f"{where}: file = {texts['file']!r} must be the name of a file in the checkpoint's folder."
            )
        adapter = cls.read(value["adapter"], folder, f"{where}, adapter") if "adapter" in value else None
        return cls(**{**_place(value["model"], folder), **texts, "adapter": adapter})


def locate(place: str, folder: Path) -> Checkpoint:
    """A path relative to `folder` if something lies there, else a Hub id ("org/name@revision"), else that path."""
    return Checkpoint(**_place(place, folder))


def _place(place: str, folder: Path) -> Mapping[str, Any]:
    path = (folder / Path(place).expanduser()).resolve()
    name, _, revision = place.partition("@")
    if not path.exists() and HUB_ID.match(name):
        return {"location": name, "revision": revision or None, "local": False}
    return {"location": str(path)}
