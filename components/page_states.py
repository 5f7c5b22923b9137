"""What gradio keeps of every open page, without a copy of the whole page's description for each.

gradio 6.31 describes all components anew for each page that opens: 70 ms and three quarters of a megabyte, though a
page changes few of them and only deep links, which we do not have, read the rest. Here all begin with one description,
and a page has its own of what it changes.
"""

from collections.abc import Iterator, MutableMapping
from copy import copy, deepcopy
from typing import Any

from gradio.blocks import Blocks
from gradio.routes import App
from gradio.state_holder import SessionState, StateHolder

Described = dict[int, dict[str, Any] | None]


class Own(MutableMapping[int, Any]):
    """Descriptions of components by id: those of all pages, but for what is read or written here."""

    def __init__(self, shared: Described) -> None:
        self._shared, self._own = shared, Described()

    def __getitem__(self, key: int) -> Any:
        if key not in self._own:  # whoever reads one may change it in place
            self._own[key] = deepcopy(self._shared[key])
        return self._own[key]

    def __setitem__(self, key: int, value: Any) -> None:
        self._own[key] = value

    def __delitem__(self, key: int) -> None:
        raise TypeError("components are never taken away from a page that is open")

    def __iter__(self) -> Iterator[int]:
        return iter(self._shared | self._own)

    def __len__(self) -> int:
        return len(self._shared | self._own)

    def __contains__(self, key: object) -> bool:
        return key in self._own or key in self._shared


class PageState(SessionState):
    """One page's."""

    def __init__(self, blocks: Blocks, described: Described) -> None:
        # All that gradio's own sets up, but for the description.
        self.blocks_config = copy(blocks.default_config)
        self.config_values = Own(described)  # type: ignore[assignment]
        self.state_data: dict[int, Any] = {}
        self._state_ttl = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 3600


class PageStates(StateHolder):
    """Those of all pages of an app."""

    def set_blocks(self, blocks: Blocks) -> None:
        super().set_blocks(blocks)
        self._described: Described = dict(SessionState(blocks).config_values)

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = PageState(self.blocks, self._described)
        return super().__getitem__(session_id)


def shared(app: App) -> None:
    """Let the pages of an app that has its blocks, and no page yet, be kept so."""
    states = PageStates()
    states.set_blocks(app.get_blocks())
    app.state_holder = states
