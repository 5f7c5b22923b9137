"""What the organiser's page does: sign in and out, a form in, a campaign out; campaigns looked at and steered.

No component is made here. Anybody can call every handler, so each begins at the gate; a mistake becomes one sentence.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from components.board import data_of
from components.gate import Gate
from components.organise_export import file_of, wishes_of
from components.organise_form import Draft, Form
from components.organise_lines import campaign_values, draft, said, view
from components.visitors import Visitors
from eft_core.ratings.export import exported
from eft_core.ratings.judgement import text_of
from eft_core.ratings.office import Office
from eft_core.ratings.prompts import Prompt, prompts_of
from eft_core.storage import Unavailable

MOST_TEXT = 2000  # characters of what the panel sends
CHANGED = {"running": "Raters are let in.", "paused": "Paused: nobody judges.", "closed": "Closed."}
Profile = gr.OAuthProfile | None  # of the server's own sign-in; gradio fills it in

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Organiser:
    """One office's page."""

    office: Office
    gate: Gate
    form: Form
    visitors: Visitors = field(default_factory=lambda: Visitors.of(None))

    def first_word(self) -> str:
        """What the sign-in says at first: how to set it up, if nobody can come in."""
        return self.gate.remedy[:1].upper() + self.gate.remedy[1:]

    # --- in and out. Outputs of the first two: the sign-in, its word, the password, the work, the panel, the pass

    async def enter(self, request: gr.Request, password: str) -> AsyncIterator[list[Any]]:
        """Sign in. Whoever waits here holds no thread, so that nobody else waits with them."""
        visitor = self.visitors.who(request)
        try:
            with self.gate.attempt(visitor) as wait:
                if wait >= 1:
                    yield [gr.skip(), f"After wrong passwords this one waits {wait:.0f} seconds.", *[gr.skip()] * 4]
                await asyncio.sleep(wait)
                shown = self.gate.enter(password, visitor)
        except ValueError as error:
            yield [gr.skip(), sentence(error), *[gr.skip()] * 4]
            return
        yield [*_opened(), await asyncio.to_thread(self._panel, {}), shown]

    def arrive(self, profile: Profile) -> list[Any]:
        """At load: an organiser's account is let in at once, and another is told."""
        try:
            self._check(profile, None)
        except ValueError:
            word = "This Hugging Face account is no organiser's here." if profile else gr.skip()
            return [gr.skip(), word, *[gr.skip()] * 4]
        return [*_opened(), self._panel({}), None]

    def leave(self) -> None:
        """Sign out. Output: the pass alone, for the page is loaded anew."""

    # --- campaigns

    def act(self, event: gr.EventData, profile: Profile, shown: Any) -> list[Any]:
        """What the panel asks for: to see how things are, or to change something first. Outputs: the sign-in, its word,
        the password, the work, the panel."""
        try:
            self._check(profile, shown)
        except ValueError as error:
            return _shut(sentence(error))
        return [*[gr.skip()] * 4, self._panel(data_of(event))]

    def _panel(self, wish: dict[str, Any]) -> gr.HTML:
        """The panel after a wish."""
        try:
            told = self._done(wish)
            value = self._view(_text(wish, "campaign"))
        except Exception as error:  # the page says it; the log has the rest
            return gr.HTML(said=said("error", sentence(error)))
        return gr.HTML(value=value, said=said("", told) if told else said("seen", ""))

    def _done(self, wish: dict[str, Any]) -> str:
        """Do what is wished; what there is to say of it."""
        campaign, annotator = _text(wish, "campaign"), _text(wish, "annotator")
        match wish.get("act"):
            case None | "see":
                return ""
            case "state":
                self.office.set_state(campaign, state := _text(wish, "state"))
                return CHANGED[state]
            case "exclude":
                self.office.exclude(campaign, annotator, _text(wish, "reason"))
                return "The votes are out of the results; they are kept and marked."
            case "include":
                self.office.include(campaign, annotator)
                return "The votes count again."
        raise ValueError("the page asked for something unknown: reload it.")

    def _view(self, campaign: str, opens: bool = False) -> str:
        """All campaigns, and what is known of that one; of the latest if it is none."""
        summaries = self.office.campaigns()
        if not summaries:
            return view((), self.form.family.name, None, opens)
        one = next((each for each in summaries if each.id == campaign), summaries[0])
        raters, pairs = self.office.by_annotator(one.id), self.office.by_pair(one.id)
        return view(summaries, self.form.family.name, campaign_values(one, raters, pairs), opens)

    def export(self, event: gr.EventData, profile: Profile, shown: Any) -> gr.HTML:
        """A campaign's judgements as a file. Output: the panel."""
        try:
            self._check(profile, shown)
            wish = data_of(event)
            form, wishes = wishes_of(wish)
            return file_of(exported(self.office.storage, form, [_text(wish, "campaign")], wishes))
        except Exception as error:  # the page says it; the log has the rest
            return gr.HTML(said=said("refused", sentence(error)))

    # --- a new one

    def read_prompts(self, profile: Profile, shown: Any, file: str | None, *controls: Any) -> list[Any]:
        """An uploaded file. Outputs: its prompts, the draft."""
        try:
            self._check(profile, shown)
            prompts = prompts_of(Path(file)) if file else ()
        except (TypeError, ValueError) as error:
            return [(), draft((), (), None, error=sentence(error))]
        return [prompts, self.preview(profile, shown, prompts, *controls)]

    def preview(self, profile: Profile, shown: Any, prompts: tuple[Prompt, ...], *controls: Any) -> str:
        """The form as far as it is filled in. Output: the draft."""
        given = Draft(*controls)
        try:
            self._check(profile, shown)
            contenders = self.form.contenders(given)
        except (TypeError, ValueError) as error:
            return draft((), prompts, None, error=sentence(error))
        if len(contenders) < 2:
            return draft(contenders, prompts, None, missing="Choose two policies or more.")
        try:
            plan = self.form.untitled(given)
        except (TypeError, ValueError) as error:
            return draft(contenders, prompts, None, error=sentence(error))
        return draft(contenders, prompts, plan, missing="" if prompts else "Add a file of prompts.")

    def create(self, profile: Profile, shown: Any, prompts: tuple[Prompt, ...], *controls: Any) -> list[Any]:
        """Make the campaign, and show it. Outputs: the draft, the tabs, the panel."""
        try:
            self._check(profile, shown)
            plan = self.form.plan(Draft(*controls))
            if not prompts:
                raise ValueError("there are no prompts: add a .csv or .jsonl with the column prompt.")
            if any(each.title == plan.title for each in self.office.campaigns()):
                raise ValueError("there is a campaign of this title already: choose another one.")
            campaign = self.office.create(plan, prompts)
            made = gr.HTML(value=self._view(campaign, opens=True), said=said("", "Created: send raters its link."))
        except Exception as error:  # the page says it; the log has the rest
            return [gr.HTML(said=said("error", sentence(error))), gr.skip(), gr.skip()]
        return [gr.HTML(said=said("", "")), gr.update(selected="campaigns"), made]

    def _check(self, profile: Profile, shown: Any) -> None:
        """The gate; ValueError for whoever is no organiser."""
        self.gate.check(shown, profile.username if profile else "")


def sentence(error: Exception) -> str:
    """An error as organisers read it; what is not their doing is logged, and told without its details."""
    if isinstance(error, ValueError | Unavailable):
        text = str(error)
        return text[:1].upper() + text[1:]
    log.error("an organiser's wish failed", exc_info=error)
    return f"This failed ({type(error).__name__}): try again; the server's log says more."


def _opened() -> list[Any]:
    """The work instead of the sign-in."""
    return [gr.update(visible=False), "", "", gr.update(visible=True)]


def _shut(word: str) -> list[Any]:
    """The sign-in instead of the work; the panel keeps nothing."""
    return [gr.update(visible=True), word, "", gr.update(visible=False), gr.HTML(value="")]


def _text(wish: dict[str, Any], name: str) -> str:
    """A text that the panel sent, "" where it is missing."""
    return text_of(f"the {name}", wish.get(name) or "", MOST_TEXT)
