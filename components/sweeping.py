"""What the Sweep tab does: controls, addresses and files in; updates for the scrubber and the figure out.

No component is made here. Whatever a browser sends is checked; a mistake becomes one sentence, never a crash.
"""

import itertools
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from components.batches import batches
from components.columns import Columns
from components.curves import figure, scored, verdict
from components.handlers import Handlers, query_items, sentence
from components.lines import line
from components.reader import saved
from components.sweep_form import Form, unchanged
from components.sweep_lines import Teller
from components.sweep_links import decode, encode
from components.sweeps import Sweep, sweep_of, trials_of
from eft_core.journal import Busy
from eft_core.running import Told, Way, run
from eft_core.saved_runs import SavedRun, as_text, path_of, read_run, tidy
from eft_core.session import Session
from eft_core.trials import Reply, Trials

MOST_KEPT = 500_000_000  # bytes of runs on this machine's disk
MOST_OPENED = 5000  # answers of a file
MOST_BYTES = 16_000_000  # of a file


@dataclass(frozen=True)
class Sweeper:
    """One session's Sweep tab. Stop reaches its runs as it reaches comparisons."""

    handlers: Handlers

    @property
    def session(self) -> Session:
        return self.handlers.session

    @property
    def form(self) -> Form:
        """What the controls ask for."""
        return Form(self.handlers.family)

    @property
    def folder(self) -> Path:
        """Where runs are kept."""
        return self.session.settings.data_folder / "runs"

    def run(self, request: gr.Request, *controls: Any) -> Iterator[list[Any]]:
        """Run a sweep, or go on with it. Outputs: scrubber, figure, the file's text."""
        *given, dark = controls
        try:
            sweep = self.form.sweep(*given)
            trials = trials_of(sweep, self.handlers.family)
            path = path_of(trials, self.handlers.family, self.folder)
            limits = self.handlers.limits
            way = limits.way(limits.ask(request, *longest(trials)), self.session, trials.limits.max_new_tokens)
        except (TypeError, ValueError) as error:
            self.handlers.meter.refused("sweep", self.handlers.family.name)
            yield [refused(error), gr.skip(), gr.skip()]
            return
        teller = Teller(trials, self.handlers.family, self.session.token_texts)
        log = teller.opening(encode(sweep))
        yield [log, gr.Plot(visible=False), ""]
        over = ""
        with self.handlers.runs.under_way(request.session_hash or uuid.uuid4().hex) as stop:
            try:
                asked = self.handlers.family.name, len(trials), sweep.prompt
                with self.handlers.meter.request("sweep", *asked, stop) as told:
                    for batch in batches(lambda: kept(self.session, trials, path, way), stop, limits.interval):
                        told.saw(batch)
                        log += teller.lines(batch)
                        told.finished = len(teller.replies) == len(trials)
                        yield [log, gr.skip(), gr.skip()]
            except Exception as error:  # the page says it; the log has the rest
                over = line("error", text=sentence(error))
        yield self._over(teller, log, over or line("done", text=stands(teller, here=True)), dark)

    def _over(self, teller: Teller, log: str, last: str, dark: bool, text: str = "") -> list[Any]:
        """What a run shows at its end: the sentence and the figure, as far as it came; and its file's text."""
        trials, curves = teller.trials, scored(teller.trials, teller.grades)
        log += line("verdict", text=verdict(trials, curves)) + last
        drawn = figure(trials, curves, "dark" if dark is True else "light")
        text = text or as_text(trials, self.handlers.family, teller.replies)
        return [log, gr.Plot(visible=False) if drawn is None else gr.Plot(drawn, visible=True), text]

    def open_file(self, file: str | None, dark: bool) -> list[Any]:
        """A run from its file, without any model. Outputs: scrubber, figure, the file's text."""
        if not file:
            return [gr.skip()] * 3
        try:
            text = _text_of(Path(file))
            return self._opened(text, Path(file).name, dark)
        except (TypeError, ValueError) as error:
            return [refused(error), gr.skip(), gr.skip()]

    def open_link(self, request: gr.Request, columns: Columns, dark: bool) -> list[Any]:
        """At load: the sweep of the address, with its answers if they are here. Outputs: tabs, scrubber, figure, the
        file's text, the controls."""
        controls = unchanged()
        try:
            sweep = decode(query_items(request), self.handlers.family)
            if sweep is None:
                return [gr.skip()] * 4 + controls
            controls = self.form.showing(sweep, columns)
            shown = self._kept(sweep, dark)
        except ValueError as error:
            shown = [refused(error), gr.skip(), gr.skip()]
        return [gr.update(selected="sweep"), *shown, *controls]

    def _kept(self, sweep: Sweep, dark: bool) -> list[Any]:
        """What this machine has of a sweep."""
        path = path_of(trials_of(sweep, self.handlers.family), self.handlers.family, self.folder)
        if not path.is_file():
            return [named(line("done", text="Not computed here yet: press Run.")), gr.skip(), gr.skip()]
        return self._opened(path.read_text(encoding="utf-8"), path.name, dark, sweep)

    def _opened(self, text: str, name: str, dark: bool, asked: Sweep | None = None) -> list[Any]:
        """A run's text as the page shows it; `asked` is the sweep that the controls show, if it is this one."""
        trials, replies = read_run(text, name)
        check_opened(trials)
        family = self.handlers.family
        teller = Teller(trials, family, self.session.token_texts if self._ours(trials, replies) else None)
        sweep = asked or sweep_of(trials, family)
        log = teller.opening(encode(sweep) if sweep else "") + teller.lines(replies.values())
        known = "" if trials.family == family.name else other(trials.family)
        return self._over(teller, log, line("done", text=stands(teller, asked is not None) + known), dark, text)

    def _ours(self, trials: Trials, replies: dict[int, Reply]) -> bool:
        """Whether the replies' tokens are those of this family, as far as can be seen."""
        family = self.handlers.family
        if trials.family != family.name or not family.checkpoint(family.reference).present():
            return False
        count = len(self.session.models.tokenizer)
        return all(max(reply.token_ids, default=0) < count for reply in replies.values())

    def save(self, text: str) -> Any:
        """What is shown, as a file for the visitor. Output: the scrubber."""
        return saved("eft-lab-sweep.jsonl", "application/jsonl", text) if isinstance(text, str) and text else gr.skip()


def kept(session: Session, trials: Trials, path: Path, way: Way | None = None) -> Iterator[Told]:
    """A run that is kept on disk: the replies that are there, then what `run` says."""
    try:
        saved_run = SavedRun(path, trials, session.family)
    except Busy as error:
        _, replies = read_run(path.read_text(encoding="utf-8"), path.name)
        yield from replies.values()
        raise ValueError(
            "this sweep is being computed already, here or on another page; above is what it has so far: wait for it, "
            "then press Run."
        ) from error
    with saved_run:
        yield from list(saved_run.replies.values())
        with closing(run(session, trials, saved_run.replies, way)) as events:
            for event in events:
                if isinstance(event, Reply):
                    saved_run.add(event)
                yield event
    tidy(path.parent, MOST_KEPT, path)


def longest(trials: Trials) -> list[str]:
    """The longest of a run's prompts, which are asked one by one."""
    return [max((item.prompt for item in trials.items), key=len)]


def stands(teller: Teller, here: bool) -> str:
    """How far a run came that is not running."""
    done, total = len(teller.replies), len(teller.trials)
    if done == total:
        return f"{total:,} answer{'s' if total > 1 else ''}"
    return f"{done:,} of {total:,} answers{': press Run to go on.' if here else ''}"


def other(family: str) -> str:
    """What is said of another family's run."""
    return f" · a run of the family {family[:40]}: it can be looked at here, but not computed"


def check_opened(trials: Trials) -> None:
    """ValueError unless the page can show a run: not too large, and its settings in the order of its axes."""
    if len(trials) > MOST_OPENED:
        raise ValueError(f"the file has {len(trials):,} answers and the page shows at most {MOST_OPENED:,}.")
    places = itertools.product(*(range(len(axis.values)) for axis in trials.axes))
    if trials.axes and [setting.at for setting in trials.settings] != list(itertools.islice(places, len(trials) + 1)):
        raise ValueError("the settings of the file are not those of its axes: save it again.")


def refused(error: Exception) -> str:
    """A log of nothing but a mistake."""
    return named(line("error", text=sentence(error)))


def named(text: str) -> str:
    """Lines as a log of their own."""
    return line("id", id=uuid.uuid4().hex) + text


def _text_of(file: Path) -> str:
    """A visitor's file; ValueError if it is none of ours by its size or its letters."""
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"the file is larger than {MOST_BYTES // 10**6} MB: open a run that was saved here.")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("the file is no text in UTF-8: open a run that was saved here.") from error
