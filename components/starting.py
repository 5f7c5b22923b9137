"""How the page begins: with the family that suits the machine when nobody says which, on ZeroGPU with its sessions.

On a Space a family's files are fetched first, for its disk is empty at every start; Atlas comes along and needs none.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from components.zero_gpu import ZeroGPU, decorator
from eft_core.families import ATLAS, families, family_named
from eft_core.hardware import Choice, Machine, default_family, is_present
from eft_core.lab import Lab
from eft_core.remote import Remote, RemoteSession
from eft_core.session import Session
from eft_core.settings import Settings

log = logging.getLogger(__name__)
_MOST_WORKERS = 4
Download = Callable[[Lab, str], Iterable[object]]


def opened(
    settings: Settings, environ: Mapping[str, str] = os.environ, download: Download | None = None
) -> tuple[Lab, str]:
    """The families, and a sentence that says with which one the page begins and why.

    To be called before anything asks torch for a GPU. `download` brings the files of a family's default comparison to
    this machine (`Lab.download`); only a Space is given files that nobody asked for. ValueError if the settings name a
    family or a device that is not there.
    """
    decorate = decorator(environ)
    zero = ZeroGPU(decorate) if decorate else None
    machine = machine_for(settings, environ)
    fetch = download if machine.space else None
    choice = _choice(settings, replace(machine, space=fetch is not None))
    processes = 0 if zero else processes_for(settings, machine)
    remote = Remote(settings, processes) if processes else None
    make = zero.session if zero else partial(RemoteSession, remote) if remote else Session
    lab = Lab(settings, make, choice.family, remote.standing if remote else None)
    if fetch is not None and not is_present(choice.family):
        choice = _fetched(lab, choice, fetch)
        lab.default = choice.family.name
    if zero:
        zero.start(lab.session())
    elif remote:
        remote.links()
    return lab, f"EFT Lab begins with {choice.reason}"


def processes_for(settings: Settings, machine: Machine) -> int:
    """Processes of the engine at most: a core each, but one where a GPU or a bound of memory is for all."""
    if settings.workers is not None:
        return settings.workers
    return 1 if machine.gpu or settings.memory_gb else max(1, min(machine.cores, _MOST_WORKERS))


def machine_for(settings: Settings, environ: Mapping[str, str]) -> Machine:
    """This machine, without what the settings leave unused: GPUs, memory, cores."""
    machine = Machine.read(environ, ask_torch=settings.device != "cpu")
    most = int(settings.memory_gb * 1e9) if settings.memory_gb else max(machine.memory, machine.gpu)
    return replace(
        machine,
        cores=min(machine.cores, settings.threads or machine.cores),
        memory=min(machine.memory, most),
        gpu=0 if settings.device == "cpu" else min(machine.gpu, most),
    )


def _choice(settings: Settings, machine: Machine) -> Choice:
    if settings.family is None:
        return default_family(machine, families(*settings.families_files))
    family = family_named(settings.family, *settings.families_files)
    return Choice(family, f"{family.title}, as EFT_FAMILY says.")


def _fetched(lab: Lab, choice: Choice, download: Download) -> Choice:
    """The choice once its files are here; Atlas if they cannot be had, for a page with it is better than none."""
    print(f"EFT Lab fetches {choice.family.title} first: this can take minutes.", flush=True)
    try:
        for _ in download(lab, choice.family.name):
            pass
    except Exception as error:  # whatever it is, the page begins and says so
        log.warning("%s could not be downloaded", choice.family.name, exc_info=True)
        atlas = lab.family(ATLAS)
        why = " ".join(str(error).split()) or type(error).__name__
        return Choice(atlas, f"{atlas.title}, for {choice.family.title} could not be downloaded: {why}")
    return choice
