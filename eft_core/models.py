"""The members of a family in memory: each checkpoint loaded lazily, once; one tokenizer for all that share it."""

import copy
import gc
import threading
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import nn

from eft_core import adapters, network
from eft_core.captured import Recorders
from eft_core.checkpoint import Facts, read_facts
from eft_core.devices import DTYPES, SHARDED, available_bytes, device_named, dtype_named, main_device
from eft_core.doctor import Report, examine
from eft_core.family import Family
from eft_core.located import Checkpoint, Quantisation
from eft_core.memory import MemoryPlan
from eft_core.model import Model, served
from eft_core.policy import Member
from eft_core.prompting import Prompt, encode, encode_response, format_of
from eft_core.safety import check
from eft_core.settings import Settings
from eft_core.vocabulary import Vocabulary, read_sides
from eft_core.weights import Held, Residence, Weights

_FORWARDS = ("auto", "lean", "library", "captured")


class Models:
    """The members of one family; the same checkpoint in two roles is one copy of weights."""

    def __init__(self, family: Family, settings: Settings, weights: Weights | None = None) -> None:
        """`weights` are shared with other families, or this family's own."""
        self.family, self.settings = family, settings
        self.weights = weights or Weights()
        self.place = device_named(settings.device)
        self.device = main_device(self.place)
        self.dtype_name = dtype_named(settings.dtype, self.place)
        self.forward_name = _forward_name(settings.forward, self.device.type)
        self._recorders = Recorders() if self.forward_name == "captured" else None
        self._residences = {member: self._residence(member) for member in family.checkpoints}
        self._facts: dict[Checkpoint, Facts] = {}
        self._tokenizer: Any = None
        self._encoder: Any = None
        self._report: Report | None = None
        # Visitors' threads check their prompts while another decodes, and a tokenizer keeps state while it encodes.
        self._reading = threading.RLock()

    def _residence(self, member: Member) -> Residence:
        """Where a member will lie: as EFT_PLACEMENT says, or the families file, or the settings for all."""
        place = self.family.checkpoint(member)
        named = self.settings.placement.get(str(member)) or place.device
        device = device_named(named, f"the device of {member}") if named else self.place
        dtype = dtype_named(place.dtype or self.settings.dtype, device, f"the dtype of {member}")
        quantise = place.quantise or self.settings.quantise
        if quantise not in get_args(Quantisation):
            raise ValueError(f"EFT_QUANTISE = {quantise!r} is not known: use {', '.join(get_args(Quantisation))}.")
        plain = replace(place, adapter=None, device=None, dtype=None, quantise=None)
        return Residence(plain, device, dtype, cast(Quantisation, quantise))

    def residence(self, member: Member) -> Residence:
        """Where the member's weights lie or will lie; equal ones are one copy. ValueError that lists what there is."""
        self.family.checkpoint(member)
        return self._residences[member]

    def facts(self, member: Member) -> Facts:
        """What the member's files tell; ValueError with the remedy if they are not there or not to be trusted."""
        place = self.residence(member).checkpoint
        if place not in self._facts:
            folder = place.folder()
            check(folder, place.file)
            self._facts[place] = read_facts(folder, place.file)
        return self._facts[place]

    def weight_bytes(self, member: Member) -> int:
        """Bytes of the member's weights as they will lie in memory, an adapter left out."""
        residence = self.residence(member)
        number = DTYPES[residence.dtype].itemsize
        return self.facts(member).weight_bytes(number, residence.quantise)

    def adapter_bytes(self, member: Member) -> int:
        """Bytes of the member's LoRA adapter, 0 if it has none."""
        adapter = self.family.checkpoint(member).adapter
        return (
            0
            if adapter is None
            else sum(file.stat().st_size for file in adapter.adapter_folder().glob("*.safetensors"))
        )

    def room(self, device: str, kept: Collection[Residence], taken: int = 0) -> int:
        """Bytes that requests may take on a device: what is free, what may go for them (all weights but the `kept`),
        and what is `taken` for them already."""
        held = {each: self.weights.get(each) for each in self.weights.residences() if each.device == device}
        sizes = {each: found.size for each, found in held.items() if found is not None}
        free = taken + available_bytes(device) + sum(size for each, size in sizes.items() if each not in kept)
        if self.settings.memory_gb is None:
            return free
        return min(
            free, max(0, int(self.settings.memory_gb * 1e9) - sum(sizes[each] for each in kept if each in sizes))
        )

    def make_room(self, memory: MemoryPlan, kept: Collection[Residence]) -> list[Residence]:
        """Let go of what a plan needs the place of, the least recently used first; returns what went."""
        gone = []
        for device in memory.available:
            free = available_bytes(device)
            if self.settings.memory_gb is not None:
                free = min(free, int(self.settings.memory_gb * 1e9) - self.weights.size(device))
            gone += self.weights.make_room(device, memory.needed_on(device) - free, kept)
        return gone

    def loaded(self) -> list[Member]:
        """The members whose weights are in memory, in the family's order."""
        return [member for member in self.family.checkpoints if self.is_loaded(member)]

    def copy(self, member: Member) -> tuple[Residence, Checkpoint | None]:
        """What must be read for a member: equal for members that one reading serves."""
        return self.residence(member), self.family.checkpoint(member).adapter

    def is_loaded(self, member: Member) -> bool:
        held, adapter = self.weights.get(self.residence(member)), self.family.checkpoint(member).adapter
        return held is not None and (adapter is None or str(adapter) in held.adapters)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer that turns ids into text: the family's reference member's."""
        self._read_tokenizers()
        return self._tokenizer

    @property
    def report(self) -> Report:
        """What the tokenizers of all members on this machine have in common; nothing is refused yet."""
        with self._reading:
            self._read_tokenizers()
            assert self._report is not None
            return self._report

    def read_anew(self) -> None:
        """Read facts and tokenizers from the files when they are next asked for: new files have come."""
        with self._reading:
            self._facts.clear()
            self._report = None

    @property
    def vocabulary(self) -> Vocabulary:
        """What all members that lie on this machine share; ValueError if they do not."""
        self.report.check()
        return Vocabulary(self.report.width, self.report.end_ids)

    def encode(self, prompt: Prompt | str) -> tuple[int, ...]:
        """A prompt as ids, in the family's chat template. From any thread."""
        return self._encoded(prompt, "chat")

    def encode_for(self, member: Member, prompt: Prompt | str) -> tuple[int, ...]:
        """A prompt as ids, as this member sees it: base members may have a format of their own. From any thread."""
        return self._encoded(prompt, self.family.base_prompt if member.behaviour is None else "chat")

    def _encoded(self, prompt: Prompt | str, form: str) -> tuple[int, ...]:
        width = self.vocabulary.width
        with self._reading:
            ids = encode(self._encoder, prompt, format_of(form), self.family.template)
        if (largest := max(ids, default=0)) >= width:
            raise ValueError(
                f"the chat template of {self.family.reference} uses id {largest}, which not all members of "
                f"{self.family.name} know: they share ids below {width}."
            )
        return ids

    def encode_response(self, prompt: Prompt | str, response: str) -> tuple[int, ...]:
        """A response as ids, as it would stand behind the prompt. From any thread."""
        with self._reading:
            self._read_tokenizers()
            return encode_response(self._encoder, prompt, response, self.family.template)

    def _read_tokenizers(self) -> None:
        with self._reading:
            if self._report is None:
                self._compare_tokenizers()

    def _compare_tokenizers(self) -> None:
        """Read each distinct tokenizer once, the reference first, and compare them."""
        reference = self.family.reference
        self.facts(reference)  # raises the remedy when it is not there
        others = [member for member, place in self.family.checkpoints.items() if place.present()]
        members = dict.fromkeys([reference, *others])
        for member in members:
            self.facts(member)
        sides = read_sides({str(member): self.residence(member).checkpoint for member in members})
        report = examine(sides, self.family.aliases)
        self._tokenizer = sides[0].tokenizer
        self._encoder = copy.deepcopy(self._tokenizer)
        self._report = report

    def load(self, member: Member) -> Model:
        """The member, from memory or from its files. ValueError if the files are missing or cannot be served."""
        residence, adapter = self.residence(member), self.family.checkpoint(member).adapter
        width, own = self.vocabulary.width, self.report.own_ids(str(member))
        held = self.weights.held(residence, lambda: self._read(residence), self.weight_bytes(member))
        name = str(adapter) if adapter else None
        if adapter is not None and str(adapter) not in held.adapters:
            adapters.attach(held.network, adapter.adapter_folder(), str(adapter))
            held.adapters.add(str(adapter))
        key = (width, own, name, self.forward_name)
        if key not in held.models:
            held.models[key] = self._served(held, member, width, own, name)
        return held.models[key]

    def _served(self, held: Held, member: Member, width: int, own: tuple[int, ...], adapter: str | None) -> Model:
        record = self._recorders.on(main_device(self.residence(member).device)) if self._recorders else None
        try:
            return served(held.network, width, self.forward_name, str(member), record, own, adapter)
        except Exception:
            self.weights.drop([self.residence(member)])  # what serves nobody takes no memory
            raise

    def _read(self, residence: Residence) -> nn.Module:
        place, settings = residence.checkpoint, self.settings
        sharded = residence.device == SHARDED
        return network.read(
            network.Reading(
                folder=place.folder(),
                dtype=DTYPES[residence.dtype],
                device=residence.device,
                quantise=residence.quantise,
                file=place.file,
                offload=Path(settings.offload_dir) if sharded and settings.offload_dir else None,
            )
        )

    def recover(self) -> None:
        """After memory ran out: give back what nothing refers to, and every device's unused blocks."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def unload(self, kept: Collection[Residence] = ()) -> None:
        """Let go of this family's weights, but of those that are `kept`."""
        self.weights.drop([each for each in set(self._residences.values()) if each not in kept])


def _forward_name(name: str, device: str) -> str:
    if name not in _FORWARDS:
        raise ValueError(f"EFT_FORWARD = {name!r} is not known: use {', '.join(_FORWARDS)}.")
    if name == "captured" and device != "cuda":
        raise ValueError(f"EFT_FORWARD=captured needs a CUDA device, and this is {device}: use EFT_FORWARD=auto.")
    return name
