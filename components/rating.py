"""What the Rate tab does: a rater's message in, one reply out.

No component is made here. Anybody can call the endpoint: a message's shape is checked here, and what it asks for in
`Desk`. A mistake becomes one sentence. What is not the rater's doing is marked `retry`: the browser keeps the
judgement and sends it again, and the desk knows it by its client key.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from components.board import data_of
from components.handlers import query_items
from components.limits import Limiter
from components.lines import line
from components.rate_lines import Values, invitation_values, past_values, place_values, receipt_values, task_values
from eft_core.allowance import OWNER
from eft_core.bounds import Refused
from eft_core.ratings.desk import Desk, Task
from eft_core.ratings.free import Shown
from eft_core.ratings.judgement import Judgement, check_key
from eft_core.ratings.studies import UnknownCode, Who, free_campaign
from eft_core.settings import Settings
from eft_core.storage import Unavailable

MOST_TEXT = 200  # characters of an id or a code
NOTHING_COMPARED = (
    "there is nothing to judge yet: run a comparison of at least two columns on Compare first, then come back."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rater:
    """One desk's Rate tab for a family. `latest` is the server's own record of what a visitor, by session hash,
    compared last; `title` the family's."""

    desk: Desk
    family: str
    latest: Callable[[str], Shown | None]
    title: str = ""
    limits: Limiter = field(default_factory=lambda: Limiter.of(Settings()))

    def open_link(self, request: gr.Request) -> Any:
        """At load: an address that names a campaign opens this tab. Output: tabs."""
        named = any(key == "rate" for key, _ in query_items(request))
        return gr.update(selected="rate") if named else gr.skip()

    def answer(self, request: gr.Request, event: gr.EventData, profile: gr.OAuthProfile | None) -> gr.HTML:
        """A message of the page's script. Output: the component, with the reply."""
        login, who = profile.username if profile else "", self.limits.visitors.who(request)
        return gr.HTML(reply=self.reply(data_of(event), login, request.session_hash or "", who))

    def reply(self, message: dict[str, Any], login: str = "", visitor: str = "", who: str = OWNER) -> str:
        """The reply to a message, as a line. `login` is a Hugging Face name that the server itself has seen to; `who`
        asks, to the limits."""
        name = message.get("id")
        try:
            values = self._limited(message, login, visitor, who)
        except Refused as error:  # the browser tries again
            values = {"error": str(error), "retry": True}
        except Unavailable as error:
            values = {"error": str(error).partition(": ")[0], "retry": True}  # the browser tries again, not the rater
        except ValueError as error:
            values = {"error": _capital(str(error))}
        except Exception as error:  # a fault of ours must not cost a judgement: the browser keeps it
            log.exception("a rater's message failed")
            values = {"error": f"the server failed ({type(error).__name__})", "retry": True}
        # `once`: the browser leaves out a reply that equals the one before it
        return line("reply", id=name[:64] if isinstance(name, str) else "", once=uuid.uuid4().hex, **values)

    def _limited(self, message: dict[str, Any], login: str, visitor: str, who: str) -> Values:
        """What a message brings, if there were not too many, nor too many wrong codes."""
        self.limits.allowance.tell(who)
        if message.get("code"):
            self.limits.allowance.check_code(who)
        try:
            values = self._done(message, login, visitor)
        except UnknownCode:
            self.limits.allowance.guessed(who)
            raise
        if values.get("stranger"):
            self.limits.allowance.guessed(who)
        return values

    def _done(self, message: dict[str, Any], login: str, visitor: str) -> Values:
        campaign = _text(message, "campaign")
        free, campaign = not campaign, campaign or free_campaign(self.family)
        who = Who(_text(message, "code"), login)
        match message.get("act"):
            case "open":
                return self._opened(campaign, who)
            case "join":
                return {"code": self.desk.join(campaign, login)}
            case "place":
                return {"place": place_values(self.desk.place(campaign, who))}
            case "free":
                return {"task": task_values(self._free(who, visitor))}
            case "cast":
                receipt = self.desk.cast(campaign, who, Judgement.of(message.get("judgement")))
                return {"receipt": receipt_values(receipt)} | ({} if free else self._next(campaign, who))
            case "undo":
                receipt = self.desk.undo(campaign, who, check_key(message.get("client_key")))
                return {"receipt": receipt_values(receipt)} | self._next(campaign, who)
            case "history":
                return {"past": past_values(self.desk.history(campaign, who))}
            case "reopen":
                return {"task": task_values(self.desk.reopen(campaign, who, _text(message, "comparison")))}
            case "forget":
                return {"forgotten": self.desk.forget(self._shown(campaign, who))}
        raise ValueError("the page asked for something unknown: reload it.")

    def _opened(self, campaign: str, who: Who) -> Values:
        """What a campaign asks, whether this rater has begun with it, and what is wrong with their code."""
        invitation, shown = self.desk.invitation(campaign), self._shown(campaign, who)
        opened: Values = {"invitation": invitation_values(invitation), "login": who.login}
        try:
            begun = shown != Who() and bool(self.desk.history(campaign, shown, most=1))
        except ValueError as error:  # nobody that is known: a code is told, an account may simply begin
            return opened | {"begun": False, "stranger": _capital(str(error)) if shown.code else ""}
        return opened | {"begun": begun, "stranger": ""}

    def _shown(self, campaign: str, who: Who) -> Who:
        """What a campaign goes by: the account or the code, for somebody may have both."""
        by_account = self.desk.invitation(campaign).identity == "login"
        return Who(login=who.login) if by_account else Who(who.code)

    def _free(self, who: Who, visitor: str) -> Task | None:
        """Two answers of what the visitor compared; None when every pair of it was judged."""
        shown = self.latest(visitor)
        if shown is None:
            raise ValueError(NOTHING_COMPARED)
        return self.desk.free(who, shown)

    def _next(self, campaign: str, who: Who) -> Values:
        """What to judge next. Without it if that fails: the receipt must get through, and the page asks again."""
        try:
            return {"place": place_values(self.desk.place(campaign, who))}
        except (ValueError, Unavailable):
            return {}


def _text(message: dict[str, Any], name: str) -> str:
    """An id or a code of a message, "" where it is missing."""
    given = message.get(name) or ""
    if not isinstance(given, str) or len(given) > MOST_TEXT or not given.isprintable():
        raise ValueError(f"the {name} is none of ours: check it, or reload the page.")
    return given.strip()


def _capital(text: str) -> str:
    """A sentence as people read it."""
    return text[:1].upper() + text[1:]
