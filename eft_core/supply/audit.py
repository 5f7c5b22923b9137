"""The audit: what the package index's advisory database knows against each locked package.

A package that could not be asked about is never counted as sound: the exit status tells the three cases apart.
"""

import sys
from collections.abc import Sequence
from typing import Any

import httpx

from eft_core.supply.index import Index
from eft_core.supply.lock import Locked

SOUND, FOUND, UNASKED = 0, 1, 3


def audited(packages: Sequence[Locked], index: Index | None = None) -> int:
    """Ask about every package and print what is found. SOUND, FOUND, or UNASKED if some, or all, gave no answer."""
    asked = index or Index()
    known: dict[str, list[dict[str, Any]]] = {}
    silent: list[str] = []
    try:
        for package in packages:
            name = f"{package.name} {package.version}"
            found = asked.advisories(package)
            if found is None:
                silent.append(name)
            else:
                known[name] = found
    except (httpx.HTTPError, ValueError) as error:
        reason = str(error) or type(error).__name__
        print(f"not audited: the package index cannot be reached, or answers no JSON ({reason}): try again elsewhere.")
        return UNASKED
    finally:
        asked.close()
    return _told(known, silent)


def _told(known: dict[str, list[dict[str, Any]]], silent: list[str]) -> int:
    """Print the findings, then what gave no answer, then one line that sums up; the exit status."""
    bad = {name: found for name, found in known.items() if found}
    for name, found in bad.items():
        for each in found:
            print(line(name, each))
    if silent:
        print(f"no answer for {len(silent)}: {', '.join(silent)}", file=sys.stderr)
    print(f"{len(known)} of {len(known) + len(silent)} packages audited, {len(bad)} with advisories")
    return FOUND if bad else UNASKED if silent else SOUND


def line(name: str, advisory: dict[str, Any]) -> str:
    """An advisory in a line, such as: gradio 3.0 PYSEC-2023-90 (CVE-2023-34239): mended in 3.34.0. Details."""
    aliases = ", ".join(str(each) for each in advisory.get("aliases") or ())
    mended = ", ".join(str(each) for each in advisory.get("fixed_in") or ()) or "no version yet"
    details = " ".join(str(advisory.get("summary") or advisory.get("details") or "").split())[:200]
    return f"{name} {advisory.get('id')}{f' ({aliases})' if aliases else ''}: mended in {mended}. {details}"
