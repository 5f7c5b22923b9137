"""What the page says of speed and speculation, in words: a column's details and the status line of a finished run."""

from eft_core.events import Done, Drafting


def details(drafting: Drafting | None) -> list[str]:
    """What stands behind a column's accepted share, a line each; nothing where nothing was drafted."""
    if drafting is None or drafting.tokens_a_cycle is None:
        return []
    places = ", ".join(f"{100 * share:.0f}" for share in drafting.acceptance_by_position)
    return [
        f"Drafter: {drafting.drafter}",
        f"{drafting.tokens_a_cycle:.1f} tokens a cycle",
        f"Accepted by place: {places} %",
        f"{drafting.drafted:,} tokens drafted in {drafting.cycles:,} cycles",
    ]


def finished(done: Done) -> str:
    """The time of the whole, and the speed of all columns together with and without speculation, as far as known."""
    words = [f"Finished in {done.seconds:.1f} s"]
    rate, gain = speed(done), done.gain
    words += [f"{rate:.0f} tokens/s"] if rate else []
    if gain is None:
        return " · ".join(words)
    predicted = None if gain.predicted is None else f"{gain.predicted:.2f}x"
    if gain.measured is not None:
        words.append(f"plain {gain.plain_tokens_per_second:.0f}")
        words.append(f"gain {gain.measured:.2f}x" + (f", predicted {predicted}" if predicted else ""))
    elif predicted:
        words.append(f"predicted gain {predicted} over plain")
    return " · ".join(words)


def speed(done: Done) -> float:
    """Tokens a second of all columns together; without a measured one, over the time of the longest column."""
    if done.gain is not None:
        return done.gain.tokens_per_second
    longest = max((answer.seconds for answer in done.answers), default=0.0)
    return sum(len(answer.token_ids) for answer in done.answers) / longest if longest > 0 else 0.0
