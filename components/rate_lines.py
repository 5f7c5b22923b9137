"""What a rater's browser is told, as plain values: named one by one, so that nothing which unblinds slips in.

Pure: no gradio. Texts of visitors and models stay texts; assets/rate/ makes text nodes of them.
"""

from collections.abc import Iterable

from eft_core.ratings.desk import Invitation, Past, Place, Receipt, Reveal, Task
from eft_core.ratings.judgement import Judgement

Values = dict[str, object]


def invitation_values(invitation: Invitation) -> Values:
    """What a campaign asks, and of whom."""
    return {
        "title": invitation.title,
        "guidelines": invitation.guidelines,
        "state": invitation.state,
        "identity": invitation.identity,
        "strength": invitation.strength,
        "scales": list(invitation.scales),
        "tags": list(invitation.tags),
        "comment": invitation.comment,
        "reveal": invitation.reveal,
        "total": invitation.total,
    }


def place_values(place: Place) -> Values:
    """How far a rater is, and what to judge now."""
    return {"state": place.state, "done": place.done, "total": place.total, "task": task_values(place.task)}


def task_values(task: Task | None) -> Values | None:
    """A comparison as it is shown: two texts, sides drawn, no names. `before` is what was said of it earlier."""
    if task is None:
        return None
    return {
        "comparison": task.comparison,
        "number": task.number,
        "total": task.total,
        "prompt": task.prompt,
        "left": task.left,
        "right": task.right,
        "before": None if task.before is None else judgement_values(task.before),
    }


def judgement_values(judgement: Judgement) -> Values:
    """An earlier judgement, for the page to show it again."""
    return {
        "verdict": judgement.verdict,
        "strength": judgement.strength,
        "scales": {side: dict(marks) for side, marks in judgement.scales.items()},
        "tags": list(judgement.tags),
        "comment": judgement.comment,
    }


def receipt_values(receipt: Receipt) -> Values:
    """What the server kept; after the vote, and where the campaign allows it, whose answers they were."""
    return {
        "comparison": receipt.comparison,
        "action": receipt.action,
        "reveal": None if receipt.reveal is None else reveal_values(receipt.reveal),
    }


def reveal_values(reveal: Reveal) -> Values:
    return {"left": reveal.left, "right": reveal.right}


def past_values(history: Iterable[Past]) -> list[Values]:
    """Earlier judgements; `at` in ISO 8601, for the browser knows the rater's time zone."""
    return [
        {
            "comparison": past.comparison,
            "number": past.number,
            "prompt": past.prompt,
            "verdict": past.verdict,
            "at": past.at.isoformat(),
        }
        for past in history
    ]
