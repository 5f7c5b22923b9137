"""Who may load models and add families: all visitors, nobody, or whoever sits at the server's own machine.

Anybody can call every handler (ECOSYSTEM.md 1.2), so each asks here. Pure, but for `caller_of`, which reads a request.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

import gradio as gr

# Whoever sends one of these stands behind a proxy, which makes every visitor look like this machine.
PROXIES = ("x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via", "cf-connecting-ip")
NOBODY = "Read only: this server lets nobody change its models from a page (EFT_MANAGE=0)."
ELSEWHERE = "Read only: models are managed from the server's own machine; EFT_MANAGE=1 lets every visitor do it."


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request came from: the addresses of its two ends ("" where unknown), and its headers in lower case."""

    client: str = ""
    server: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rights:
    """`manage` is the settings' word. Where they say nothing, a Space and a server that `listens` to other machines
    (the name it listens at) let nobody, and any other lets this machine."""

    manage: bool | None
    space: bool = False
    listens: str = ""

    @classmethod
    def of(cls, manage: bool | None, environ: Mapping[str, str] = os.environ) -> Self:
        """From the settings' word and what says how the server is reached: SPACE_ID and GRADIO_SERVER_NAME."""
        return cls(manage, bool(environ.get("SPACE_ID")), environ.get("GRADIO_SERVER_NAME", ""))

    def refusal(self, caller: Caller) -> str:
        """Why the caller may change nothing, in one sentence; "" if they may."""
        if self.manage is not None:
            return "" if self.manage else NOBODY
        return "" if self._alone() and is_here(caller) else ELSEWHERE

    def check(self, caller: Caller) -> None:
        """ValueError unless the caller may change things."""
        if refusal := self.refusal(caller):
            raise ValueError(refusal)

    def _alone(self) -> bool:
        return not self.space and (not self.listens or _is_loopback(self.listens))


def is_here(caller: Caller) -> bool:
    """Whether a request came from this machine, by no proxy, and from a page that this machine served: another site's
    page may send requests to a server here, and may give itself a name that leads here."""
    headers = caller.headers
    if any(name in headers for name in PROXIES) or not _is_loopback(caller.client):
        return False
    places = [_host(headers.get("host", "")), *([_host_of(headers["origin"])] if "origin" in headers else [])]
    return (not caller.server or _is_loopback(caller.server)) and all(map(_is_loopback, places))


def caller_of(request: gr.Request) -> Caller:
    """Where a handler's request came from."""
    asked = request.request
    if asked is None:
        return Caller()
    client, server = asked.client, asked.scope.get("server")
    headers = {name.lower(): value for name, value in asked.headers.items()}
    return Caller(client.host if client else "", str(server[0]) if server else "", headers)


def _host(place: str) -> str:
    """The host of "host:port"."""
    return _host_of(f"//{place}")


def _host_of(address: str) -> str:
    """The host of an address; "" if it is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
