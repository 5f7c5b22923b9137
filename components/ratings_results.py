"""What Results, Ratings does: a campaign and filters in; what its votes say as text, figure, table and files out.

No component is made here. Whatever a browser sends is checked; who may see what is asked of the `Source` at every
call. A mistake becomes one sentence, never a crash.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.board import data_of
from components.ratings_lines import KINDS, Shown, body, file_of, head, said
from components.reader import saved
from eft_core.ratings.filters import NAMED, Filter, offered
from eft_core.ratings.findings import findings
from eft_core.ratings.rating_figures import drawn
from eft_core.ratings.sections import Section
from eft_core.ratings.votes import Votes
from eft_core.storage import Unavailable

ALL = ""  # every campaign that the visitor may see
BLIND, OPEN = "blind", "open"
COUNTED, IN_LINE, EVERYBODY = "counted", "in line", "everybody"
Profile = gr.OAuthProfile | None  # of the server's own sign-in; gradio fills it in

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where votes come from. organiser: whether a pass (whatever the page keeps of a sign-in) and a login are an
    organiser's. campaigns: (id, title) of those that an organiser, or anybody, may see. load: the votes of one of
    them, or of all for None."""

    organiser: Callable[[Any, str], bool]
    campaigns: Callable[[bool], Sequence[tuple[str, str]]]
    load: Callable[[str | None, bool], Votes]


@dataclass(frozen=True)
class RatingsResults:
    """The page's part about ratings."""

    source: Source

    # Outputs of `show`: head, figure, table; the sections, the campaign, family, behaviour, N, M; what is shown
    def show(
        self, profile: Profile, badge: Any, section: Any, campaign: Any, *filters_and_mode: Any
    ) -> Iterator[list[Any]]:
        """The votes of a campaign under the filters, read anew; it says so first. The last input: is the page dark."""
        *filters, dark = filters_and_mode
        nothing: list[Any] = [gr.skip()] * 9
        yield [gr.HTML(busy="Reading the votes."), *nothing]
        try:
            organiser = self.source.organiser(badge, profile.username if profile else "")
            campaigns = self.source.campaigns(organiser)
            chosen, title = _campaign(campaign, campaigns)
            votes = self.source.load(chosen or None, organiser)
            options = offered(votes.policies)
            wanted = _filter(options, *filters)
            shown = Shown(title, wanted, findings(votes, wanted, organiser))
        except Exception as error:  # the page says it; the log has the rest
            yield [gr.HTML(said(_sentence(error), error=True), busy=""), *nothing]
            return
        named = [
            _dropdown([("Any", ""), *options[name]], getattr(wanted, name), len(options[name]) > 1) for name in NAMED
        ]
        which = _dropdown(_choices(campaigns), chosen, bool(campaigns))
        yield [*self.pick(section, shown, dark), _sections(section, shown), which, *named, shown]

    def pick(self, section: Any, shown: Shown | None, dark: bool) -> list[Any]:
        """A section of what is shown. Outputs: head, figure, table."""
        found = _section(section, shown)
        if shown is None or found is None:
            text = shown.findings.summary if shown else "Nothing is read yet: open Ratings again."
            return [gr.HTML(said(text), busy=""), gr.Plot(visible=False), ""]
        figure = gr.Plot(drawn(found, "dark" if dark is True else "light"), visible=True)
        return [gr.HTML(head(shown, found), busy=""), figure, body(found)]

    def save(self, event: gr.EventData, section: Any, shown: Shown | None) -> Any:
        """What is shown, as a file for the visitor. Output: head."""
        kind, found = data_of(event).get("kind"), _section(section, shown)
        if shown is None or found is None or kind not in KINDS:
            return gr.skip()
        return saved(*file_of(shown, found, kind))


# --- in


def _campaign(given: Any, campaigns: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """A campaign's id and title, the first one at first; ValueError for one that the visitor may not see."""
    titles = dict(campaigns) | {ALL: "All campaigns"}
    if given is None:
        given = campaigns[0][0] if campaigns else ALL
    if not isinstance(given, str) or given not in titles:
        raise ValueError("there is no such campaign, or its results are not published: choose one of the list.")
    return given, titles[given]


def _filter(options: Mapping[str, Sequence[str]], comparisons: Any, people: Any, *named: Any) -> Filter:
    """The filters; what another campaign had and this one has not is any. ValueError for what the page never offers."""
    if comparisons not in (BLIND, OPEN) or people not in (COUNTED, IN_LINE, EVERYBODY):
        raise ValueError("these filters are none of ours: reload the page.")
    return Filter(
        blind=comparisons == BLIND,
        excluded=people == EVERYBODY,
        outliers=people != IN_LINE,
        **{name: value for name, value in zip(NAMED, named, strict=True) if value in options[name]},
    )


def _section(name: Any, shown: Shown | None) -> Section | None:
    """The section of a name, or the first one; None where there is none."""
    there = shown.findings.sections if shown else ()
    return next((each for each in there if each.name == name), next(iter(there), None))


# --- out


def _sentence(error: Exception) -> str:
    """An error as people read it; what is not their doing is logged, and told without its details."""
    if isinstance(error, ValueError | Unavailable):
        text = str(error)
        return text[:1].upper() + text[1:]
    log.error("votes could not be read", exc_info=error)
    return f"The votes could not be read ({type(error).__name__}): choose again; the server's log says more."


def _sections(name: Any, shown: Shown) -> gr.Radio:
    """What can be looked at."""
    names, found = [(each.title, each.name) for each in shown.findings.sections], _section(name, shown)
    return gr.Radio(names, value=found.name if found else None, visible=bool(names))


def _choices(campaigns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    several = [("All campaigns", ALL)] if len(campaigns) > 1 else []
    return [*((title, number) for number, title in campaigns), *several]


def _dropdown(choices: Sequence[Any], value: str, visible: bool) -> gr.Dropdown:
    return gr.Dropdown(list(choices), value=value if visible else None, visible=visible)
