"""A backup on the Hub: a folder of JSON lines that huggingface_hub pushes to a private data set every five minutes.

(huggingface_hub's upload guide, "Scheduled uploads".) A line is on this machine's disk when it is confirmed, and on the
Hub at the next push, or when the process ends in an orderly way. Only the newest state stays there, so that what was
deleted is gone from its history too.
"""

import logging
import shutil
import tempfile
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx

from eft_core.ratings.backup import PATTERN, Folder
from eft_core.storage import Unavailable

log = logging.getLogger(__name__)
_MINUTES = 5  # the least that the guide advises


class Dataset(Folder):
    """The data set of a name, by a folder. `scheduler` pushes."""

    def __init__(self, name: str, folder: Path, api: Any = None) -> None:
        """Fetches what is there first. `api` is an HfApi; by default that of HF_TOKEN.

        ValueError if the data set is public, `Unavailable` if it cannot be reached or written."""
        from huggingface_hub import CommitScheduler, HfApi

        api = api or HfApi()
        try:
            _fetch(name, folder, api)
            self.scheduler = CommitScheduler(
                repo_id=name,
                repo_type="dataset",
                private=True,
                folder_path=folder,
                every=_MINUTES,
                squash_history=True,
                allow_patterns=PATTERN,
                hf_api=api,
            )
        except (OSError, httpx.HTTPError) as error:
            raise Unavailable(
                f"the data set {name} cannot be fetched ({type(error).__name__}): set HF_TOKEN to a token that may "
                "write it, or try again in a moment."
            ) from error
        super().__init__(folder, self.scheduler.lock)  # it lists the files under this lock

    def push(self) -> "Future[Any]":
        """Push now, in the scheduler's own thread."""
        pushing: Future[Any] = self.scheduler.trigger()
        return pushing

    def pushed(self, seconds: float) -> bool:
        """Push now; whether that ended well within so many seconds."""
        try:
            self.push().result(seconds)
        except (OSError, httpx.HTTPError, TimeoutError) as error:
            log.warning("the data set could not be pushed (%s)", type(error).__name__)
            return False
        return True


def _fetch(name: str, folder: Path, api: Any) -> None:
    """The data set's files into the folder. Those that are there stay: they may have lines that were not pushed."""
    api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
    if not api.repo_info(name, repo_type="dataset").private:
        raise ValueError(f"the data set {name} is public, and judgements are not: make it private, or name another.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as fetched:
        api.snapshot_download(name, repo_type="dataset", local_dir=fetched, allow_patterns=PATTERN)
        for file in Path(fetched).glob(PATTERN):
            if not (folder / file.name).exists():
                part = folder / f"{file.stem}.part"
                shutil.copyfile(file, part)
                part.replace(folder / file.name)
