"""One row's tokens and text while it runs: drawn tokens in, events and the whole answer out."""

from eft_core.autoregressive import Continuation, Drawn
from eft_core.detokenize import Detokenizer
from eft_core.events import Answer, Fate, RowStart, TokensDrawn

_FAILED = (
    "this policy has no finite probability here: a member gave nan or infinity. Check that member's checkpoint, "
    "or use a smaller amplification."
)


class Transcript:
    """One row's tokens and text while it runs."""

    def __init__(self, tokenizer: object, row: Continuation, stop: tuple[str, ...]) -> None:
        self._row, self._text = row, Detokenizer(tokenizer, stop)
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._fates: list[Fate] = []
        self._sent = 0  # tokens that an event has told
        self._pieces = ""

    @property
    def start(self) -> RowStart:
        row = self._row
        return RowStart(row.policy, tuple(str(member) for member in row.policy.members()), len(row.prompt))

    def push(self, token: int) -> bool:
        """Add a token's text; whether a stop string was met."""
        self._pieces += self._text.push(token)
        return self._text.stopped

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
        pieces, self._pieces = self._pieces, ""
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
            prompt_tokens=len(self._row.prompt),
            seconds=seconds,
            message=_FAILED if reason == "failed" else "",
            fates=tuple(self._fates),
            drafting=drawn.drafting,
        )
        return tail, answer
