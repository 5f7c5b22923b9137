"""A run as the scrubber's lines: what it sweeps, its answers in pieces, how far it is.

The board's language (`lines.py`): one JSON object a line, append-only while a run goes on; scrub.js reads the tail.
"""

import codecs
import math
import re
import uuid
from collections.abc import Iterable, Mapping

from components.answers import REASONS
from components.columns import role_of
from components.limits import holding_on
from components.lines import line
from components.sweeps import title_of_axis
from eft_core.bounds import Held
from eft_core.cases import pieces
from eft_core.events import Loading, Queued
from eft_core.family import Family
from eft_core.graders import grader_for
from eft_core.grid import Setting, told
from eft_core.running import Grown, Progress, Told
from eft_core.scores import manner_of
from eft_core.token_text import TokenTexts
from eft_core.trials import Reply, Trials


class Teller:
    """Tells one run to the page, and keeps the grades of what it told. `texts` None: its tokens are not ours."""

    def __init__(self, trials: Trials, family: Family, texts: TokenTexts | None) -> None:
        self.trials, self._family, self._texts = trials, family, texts
        self._grader = grader_for(trials.items)
        self._status = ""
        self.replies: dict[int, Reply] = {}
        self.grades: dict[int, Mapping[str, float]] = {}

    def opening(self, query: str) -> str:
        """The first two lines: a name, and what is swept. `query` is the sweep's address, if it has one."""
        trials, axes = self.trials, axes_of(self.trials)
        first = line("id", id=uuid.uuid4().hex)
        settings = [(label_of(each, trials), role_of(each.policy, self._family)) for each in trials.settings]
        prompts = [item.prompt for item in trials.items]
        return first + line("sweep", axes=axes, settings=settings, prompts=prompts, samples=trials.samples, query=query)

    def lines(self, events: Iterable[Told]) -> str:
        """What a batch of events adds. Texts grow before the page's eyes where there is one prompt; of several
        prompts, answers come whole."""
        grown: dict[int, str] = {}
        text = progress = status = ""
        for event in events:
            match event:
                case Held():
                    status = holding_on(event)
                case Queued():
                    status = f"Queued: {event.ahead} before yours"
                case Loading():
                    status = f"Loading {event.member} ({event.index} of {event.total})"
                case Grown() if len(self.trials.items) == 1:
                    grown[event.trial] = grown.get(event.trial, "") + event.text
                case Reply():
                    grown.pop(event.trial, None)
                    text += self._answer(event)
                case Progress():
                    progress = line("progress", done=event.done, total=event.total, text=how_far(event))
        if status and status != self._status:  # who waits says so ten times a second
            text += line("status", text=status)
        self._status = "" if progress else status or self._status
        return text + (line("grown", texts=grown) if grown else "") + progress

    def _answer(self, reply: Reply) -> str:
        self.replies[reply.trial] = reply
        item, setting, _ = self.trials.place(reply.trial)
        if self._grader is not None and reply.reason != "failed":
            manner = manner_of(self.trials.settings[setting].policy)
            grades = self._grader.grade(self.trials.items[item], reply.text, reply.ended, manner)
            self.grades[reply.trial] = grades
        return line(
            "answer",
            n=reply.trial,
            p=pieces_of(reply, self._texts),
            k=len(reply.token_ids),
            end=reply.message or REASONS.get(reply.reason, reply.reason),
            failed=reply.reason == "failed",
            g=dict(self.grades.get(reply.trial, {})),
        )


def axes_of(trials: Trials) -> list[dict[str, object]]:
    """The axes as the page's sliders. Settings that no grid made are one axis, numbered."""
    if not trials.axes or math.prod(len(axis.values) for axis in trials.axes) != len(trials.settings):
        return [{"title": "Setting", "values": [str(number) for number in range(1, len(trials.settings) + 1)]}]
    return [{"title": title_of_axis(axis), "values": [told(value) for value in axis.values]} for axis in trials.axes]


def label_of(setting: Setting, trials: Trials) -> str:
    """A setting's formula, and what an axis says of its sampling."""
    varied = {axis.name for axis in trials.axes}
    parts = [f"temperature {setting.sampling.temperature:g}"] if "temperature" in varied else []
    parts += [f"seed {setting.sampling.seed}"] if "seed" in varied else []
    return ", ".join([setting.policy.formula(), *parts])


def how_far(progress: Progress) -> str:
    """`312 of 550 answers · 40 s left`"""
    told_so_far = f"{progress.done:,} of {progress.total:,} answers"
    if progress.left is None or progress.done == progress.total:
        return told_so_far
    seconds = max(1, round(progress.left))
    return f"{told_so_far} · {f'{seconds} s' if seconds < 90 else f'{round(seconds / 60)} min'} left"


def pieces_of(reply: Reply, texts: TokenTexts | None) -> list[str]:
    """The answer's text, cut where its tokens end; tokens that share a character are one piece.

    Where the tokens are not known, or do not make the text (another family's, or a file that somebody edited): words.
    """
    words = re.findall(r"\s*\S+|\s+", reply.text)
    if texts is None:
        return words
    found = _pieces(reply, texts)
    return found if "".join(found) == reply.text.lstrip() else words


def _pieces(reply: Reply, texts: TokenTexts) -> list[str]:
    """The texts of the tokens, special ones left out as in the answer's text, without white space before the first."""
    reader = codecs.getincrementaldecoder("utf-8")("replace")
    parts = pieces(reply.token_ids, texts.of(set(reply.token_ids)))
    whole = [piece for piece in (*map(reader.decode, parts), reader.decode(b"", final=True)) if piece]
    while whole and not whole[0].strip():
        whole = whole[1:]
    return [whole[0].lstrip(), *whole[1:]] if whole else []
