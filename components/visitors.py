"""Who a visitor is, for limits: the address that a request came from, and of IPv6 its /64, which is one household's.

A page's session hash is no ground for a limit, since the browser chooses it; nor is X-Forwarded-For, but for what the
server's own proxies wrote there. Pure, but for `who`, which reads a request.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Self

import gradio as gr

from components.models_rights import PROXIES, Caller, caller_of
from eft_core.allowance import OWNER

UNKNOWN = "unknown"  # nobody's address: all who have none share one allowance
_HEADER = "x-forwarded-for"
_LONGEST = 4000  # characters of a header that are looked at, from its end
_HOUSEHOLD = 64  # bits of an IPv6 address that a provider gives away at least


@dataclass(frozen=True, slots=True)
class Visitors:
    """`proxies` is how many stand before this server. Unset it is none; on a Space it is as many as it takes: the last
    address there that is no internal one."""

    proxies: int | None = None
    space: bool = False

    @classmethod
    def of(cls, proxies: int | None, environ: Mapping[str, str] = os.environ) -> Self:
        return cls(proxies, bool(environ.get("SPACE_ID")))

    def who(self, request: gr.Request) -> str:
        """The key of whoever asks; OWNER for somebody at this machine itself."""
        return self.key(caller_of(request))

    def key(self, caller: Caller) -> str:
        """A caller's key, of bounded length."""
        behind = self.space if self.proxies is None else self.proxies > 0
        if not behind and not any(name in caller.headers for name in PROXIES) and _is_loopback(caller.client):
            return OWNER
        return _household(self._forwarded(caller) if behind else caller.client)

    def _forwarded(self, caller: Caller) -> str:
        """The address that our outermost proxy was asked from; the peer's where no proxy wrote any."""
        written = [part.strip() for part in caller.headers.get(_HEADER, "")[-_LONGEST:].split(",") if part.strip()]
        if self.proxies is not None:
            return written[-min(self.proxies, len(written))] if written else caller.client
        found = next((part for part in reversed(written) if (here := _address(part)) and here.is_global), "")
        return found or caller.client


def _household(text: str) -> str:
    """One key for all addresses of a household."""
    here = _address(text)
    if here is None:
        return UNKNOWN
    if isinstance(here, IPv4Address):
        return str(here)
    return str(ip_network((here, _HOUSEHOLD), strict=False))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address that is written, with or without a port; one of IPv4 in the dress of IPv6 is itself."""
    host = text.partition("]")[0].removeprefix("[") if text.startswith("[") else text
    host = host.partition(":")[0] if host.count(":") == 1 else host
    try:
        here = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return here.ipv4_mapped or here if isinstance(here, IPv6Address) else here


def _is_loopback(text: str) -> bool:
    here = _address(text)
    return here is not None and here.is_loopback
