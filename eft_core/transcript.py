"""One row's tokens and text while it runs: drawn tokens in, events and the whole answer out."""

from eft_core.continuation import Continuation, Drawn
from eft_core.detokenize import Detokenizer
from eft_core.events import Answer, Fate, RowStart, TokensDrawn
from eft_core.trace import Trace

_FAILED = (
    "this policy has no finite probability here: a member gave nan or infinity. Check that member's checkpoint, "
    "or use a smaller amplification."
)


class Transcript:
    """One row's tokens and text while it runs."""

    def __init__(self, tokenizer: object, row: Continuation, stop: tuple[str, ...], given: Trace | None = None) -> None:
        """`given`: the records of the tokens that the row was given; they come first."""
        self._row, self._text = row, Detokenizer(tokenizer, stop)
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._fates: list[Fate] = []
        self._sent = 0  # tokens that an event has told
        self._pieces = ""
        self._traces: list[Trace] = []
        if given is not None:
            for token, logprob in zip(given.tokens.tolist(), given.logprobs[:, 0].tolist(), strict=True):
                self.push(token)
                self.take(Drawn(0, token, logprob, None, "given"))

    @property
    def start(self) -> RowStart:
        row = self._row
        return RowStart(row.policy, tuple(str(each) for each in row.policy.members()), len(row.prompt) - row.given)

    def push(self, token: int) -> bool:
        """Add a token's text; whether a stop string was met."""
        if self._text.add(token):
            self._pieces += self._text.news()
        return self._text.stopped

    def record(self, trace: Trace) -> None:
        """Keep the records of the next tokens."""
        self._traces.append(trace)

    def take(self, drawn: Drawn) -> None:
        """Keep a drawn token."""
        self._ids.append(drawn.token)
        self._logprobs.append(drawn.logprob)
        self._fates.append(drawn.fate)

    def news(self, row: int, seconds: float) -> TokensDrawn | None:
        """The event of the tokens taken since the last one; None if there are none."""
        since, self._sent = self._sent, len(self._ids)
        if since == self._sent:
            return None
        pieces, self._pieces = self._pieces + self._text.news(), ""
        ids, logprobs, kinds = (tuple(each[since:]) for each in (self._ids, self._logprobs, self._fates))
        return TokensDrawn(row, ids, logprobs, pieces, seconds, kinds)  # type: ignore[arg-type]

    def finish(self, drawn: Drawn, seconds: float) -> tuple[str, Answer]:
        """The held-back rest of the text, and the whole answer."""
        tail = self._text.finish()
        reason = drawn.reason or "length"
        answer = Answer(
            policy=self._row.policy,
            text=self._text.text,
            token_ids=tuple(self._ids),
            logprobs=tuple(self._logprobs),
            reason=reason,
            prompt_tokens=len(self._row.prompt) - self._row.given,
            seconds=seconds,
            message=_FAILED if reason == "failed" else "",
            fates=tuple(self._fates),
            drafting=drawn.drafting,
            trace=Trace.join(self._traces) if self._traces else None,
        )
        return tail, answer
