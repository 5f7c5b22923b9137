"""The package index that pip asks, for what it says of a package: advisories, and the metadata of a file."""

from email.message import Message
from email.parser import HeaderParser
from typing import Any

import httpx

from eft_core.supply.lock import Locked, canonical

PATIENCE = 20.0  # seconds for one answer
_SIMPLE = "application/vnd.pypi.simple.v1+json"


def address() -> str:
    """Of the public index, as pip has it: mirrors and private indexes seldom serve advisories."""
    from pip._internal.models.index import PyPI  # the one place on this machine that is sure to know

    return str(PyPI.url).rstrip("/")


class Index:
    """Answers about packages at exact versions; None where the index has none to give."""

    def __init__(self, base: str = "") -> None:
        self._base = base or address()
        self._client = httpx.Client(timeout=PATIENCE, follow_redirects=True)

    def close(self) -> None:
        self._client.close()

    def advisories(self, package: Locked) -> list[dict[str, Any]] | None:
        """What is known against a package, withdrawn advisories left out. None if the index does not say."""
        known = (self._release(package) or {}).get("vulnerabilities")
        return None if known is None else [each for each in known if not each.get("withdrawn")]

    def metadata(self, package: Locked) -> Message | None:
        """The metadata of the first locked file that the index serves it for (PEP 658), or what it tells itself."""
        listed = self._json(f"{self._base}/simple/{canonical(package.name)}/", _SIMPLE) or {}
        for file in listed.get("files", ()):
            if file.get("hashes", {}).get("sha256") in package.hashes and file["filename"].endswith(".whl"):
                answer = self._client.get(f"{file['url']}.metadata")
                if answer.status_code == 200:
                    return HeaderParser().parsestr(answer.text)
                break  # it has them for all wheels of a version, or for none
        return _message((self._release(package) or {}).get("info"))

    def _release(self, package: Locked) -> dict[str, Any] | None:
        """What the index says of a package at its version.

        A copy of the index may lack the answers for single versions; that for the newest is then used if it is ours.
        """
        version = package.version.partition("+")[0]
        for path in (f"{package.name}/{version}", package.name):
            found = self._json(f"{self._base}/pypi/{path}/json")
            if found is not None and found.get("info", {}).get("version") == version:
                return found
        return None

    def _json(self, url: str, kind: str = "application/json") -> dict[str, Any] | None:
        """An answer; None where there is none. `httpx.HTTPError` if the index cannot be reached."""
        answer = self._client.get(url, headers={"Accept": kind})
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        found = answer.json()
        return found if isinstance(found, dict) else None


def _message(info: dict[str, Any] | None) -> Message | None:
    """What an index says of a licence, as a package's own metadata has it."""
    if not info:
        return None
    told = Message()
    told["Name"] = info["name"]
    for key, header in (("license_expression", "License-Expression"), ("license", "License")):
        if info.get(key):
            told[header] = " ".join(str(info[key]).split())
    for each in info.get("classifiers") or ():
        told["Classifier"] = each
    return told
