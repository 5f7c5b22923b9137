"""What the Models tab does: load, unload, download, remove; and what it shows of families and vocabularies.

No component is made here. Anybody can call every handler, so each that changes anything asks for the right first; a
mistake becomes one sentence, never a crash.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from components.batches import batches
from components.board import data_of
from components.families_list import families_html
from components.limits import Limiter
from components.models_adding import Found, findings, tables_from
from components.models_facts import family_facts, listed, place_of, told
from components.models_html import (
    family_html,
    found_html,
    going_html,
    over_html,
    report_html,
    share_html,
    steps_html,
    trouble_html,
)
from components.models_rights import Rights, caller_of
from components.runs import Runs
from eft_core.downloading import line
from eft_core.events import Downloading, Loading, Queued
from eft_core.lab import Lab
from eft_core.session import Session
from eft_core.settings import Settings

Download = Callable[[str], Iterator[Downloading]]
Going = Queued | Loading | Downloading
LONGEST_NAME = 100  # characters of what a page sends

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Manager:
    """One page's Models tab, for the family of `session`. `download` brings a family's missing files, if there is a
    way to."""

    lab: Lab
    session: Session
    rights: Rights
    download: Download | None = None
    runs: Runs = field(default_factory=Runs)
    limits: Limiter = field(default_factory=lambda: Limiter.of(Settings()))

    # --- what is shown

    def show(self, request: gr.Request) -> list[Any]:
        """How things are now. Outputs: the page's own family, all families."""
        refusal = self.rights.refusal(caller_of(request))
        manage = not refusal
        downloads, name = self.download is not None, self.session.family.name
        own = family_html(family_facts(self.lab, self.session, manage), refusal, downloads)
        families = listed(self.lab, name, manage)
        return [own, families_html(families, self.session.dtype, manage, downloads)]

    def open(self, request: gr.Request) -> list[Any]:
        """When the tab is opened. Outputs: the page's own family, all families, and the form for those who may."""
        return [*self.show(request), gr.update(visible=not self.rights.refusal(caller_of(request)))]

    def report(self, request: gr.Request) -> str:
        """The doctor's report on the members that are on this machine. Output: the report."""
        manage = not self.rights.refusal(caller_of(request))
        family = self.session.family
        try:
            report = self.session.models.report
        except ValueError as error:
            return trouble_html(f"No report. {told(error, manage)}")
        examined = {finding.member for finding in report.findings}
        left_out = [each for each in family.checkpoints if str(each) not in examined]
        missing = [f"{each} ({place_of(family.checkpoint(each), manage)})" for each in left_out]
        return report_html(report, missing)

    # --- a new family. Outputs: what was found, the page's own family, all families

    def adding(self, event: gr.EventData, request: gr.Request) -> Iterator[list[Any]]:
        """Check new families, one outcome after the other; and keep them, if that is wished and nothing is wrong."""
        found: list[Found] = []
        try:
            self.rights.check(caller_of(request))
            self.limits.ask(request)
            wish = data_of(event)
            tables = tables_from(wish)
            for each in findings(self.lab, tables):
                found.append(each)
                yield [found_html(found, "Checking."), gr.skip(), gr.skip()]
            last = self._kept(wish, tables, found)
        except Exception as error:  # the page says it; the log has the rest
            last = found_html(found, sentence(error), bad=True)
        yield [last, *self.show(request)]

    def _kept(self, wish: dict[str, Any], tables: dict[str, Any], found: Sequence[Found]) -> str:
        """What is said at the end of a check, and after keeping the families if that is wished."""
        if any(each.mark == "bad" for each in found):
            return found_html(found, "Nothing was added: correct what is marked, then check again.", bad=True)
        if wish.get("act") != "add":
            return found_html(found, "This can be added. Nothing was downloaded or loaded.")
        titles = ", ".join(family.title for family in self.lab.add_all(tables))
        return found_html(found, f"Added: {titles}. It stands in the list below.")

    # --- what is done. Outputs: what goes on, the page's own family, all families

    def act(self, event: gr.EventData, request: gr.Request) -> Iterator[list[Any]]:
        """Load, unload, download or remove a family, and tell how far it is. Whoever leaves the page stops it."""
        try:
            self.rights.check(caller_of(request))
            self.limits.ask(request)
            title, start, done = self._wished(data_of(event))
            finished, shown = threading.Event(), going_html(f"{title}: beginning.")
            with self.runs.under_way(visitor(request)) as stop:
                for batch in batches(lambda: _through(start(), finished), stop):
                    shown = going(batch[-1], title) if batch else shown
                    yield [shown, gr.skip(), gr.skip()]
            last = over_html(done if finished.is_set() else f"{title}: stopped; what was read stays.")
        except Exception as error:  # the page says it; the log has the rest
            last = over_html(sentence(error), bad=True)
        yield [last, *self.show(request)]

    def halt(self, request: gr.Request) -> None:
        """Stop what this page began."""
        if not self.rights.refusal(caller_of(request)):
            self.runs.stop(visitor(request))

    def _wished(self, wish: dict[str, Any]) -> tuple[str, Callable[[], Iterator[Going]], str]:
        """A family's title, what to do with it, and what to say when it is done."""
        name = wish.get("family")
        if not isinstance(name, str) or len(name) > LONGEST_NAME:
            raise ValueError("the page asked for something unknown: reload it.")
        title = self.lab.family(name).title
        match wish.get("act"):
            case "load":
                return title, lambda: self.lab.load(name), f"{title} is in memory."
            case "unload":
                return title, lambda: self.lab.unload(name), f"{title} left the memory."
            case "download" if (download := self.download) is not None:
                return title, lambda: download(name), f"{title}: all of its files are here."
            case "remove":
                return title, lambda: self._remove(name), f"{title} is forgotten; its files stay where they are."
        raise ValueError("the page asked for something unknown: reload it.")

    def _remove(self, name: str) -> Iterator[Going]:
        if name == self.lab.default:
            raise ValueError(f"{name} is the family of the first page: start with another EFT_FAMILY, then remove it.")
        self.lab.remove(name)
        return iter(())


def _through(events: Iterator[Going], finished: threading.Event) -> Iterator[Going]:
    """The events, and a mark where they came to their end."""
    yield from events
    finished.set()


def going(event: Going, name: str) -> str:
    """What goes on, of the family `name`."""
    match event:
        case Queued(ahead):
            runs = "request runs" if ahead == 1 else "requests run"
            return going_html(f"{name}: waiting, for {ahead} {runs} before this.")
        case Loading(member, index, total, freed):
            gone = f"; freed {', '.join(freed)} to make room" if freed else ""
            return going_html(f"{name}: loading {member} ({index} of {total}){gone}.", steps_html(index - 1, total))
        case Downloading(_, done, total):
            return going_html(f"{name}: downloading. {line(event)}.", share_html(done / total if total else 0.0))


def visitor(request: gr.Request) -> str:
    """Which page asks."""
    return request.session_hash or uuid.uuid4().hex


def sentence(error: Exception) -> str:
    """An error as people read it; what is not their doing is logged, and told without its details."""
    if isinstance(error, ValueError):
        text = str(error)
        return text[:1].upper() + text[1:]
    log.error("managing models failed", exc_info=error)
    return f"This failed ({type(error).__name__}): try again; the server's log says more."
