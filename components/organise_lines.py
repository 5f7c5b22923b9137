"""What the organiser's page says, as one JSON object a time: campaigns, one of them, a draft and what it costs. Pure.

All of it is text: assets/campaigns.js and assets/draft.js make nodes of it by textContent.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from components.lines import line
from components.organise_form import cost
from eft_core.ratings.campaign import Contender, Plan
from eft_core.ratings.office import Summary
from eft_core.ratings.prompts import Prompt

SHOWN_PROMPTS = 5
SHOWN_LETTERS = 200
IDENTITIES = {"code": "Anybody with the link, by a code", "login": "A Hugging Face account"}
PUBLISHED = {"closed": "Once it is closed", "never": "Never", "always": "Always"}
Rows = Sequence[dict[str, Any]]


# --- campaigns


def campaigns_values(summaries: Sequence[Summary], here: str) -> list[dict[str, Any]]:
    """The list, latest first. elsewhere: a family that is not the one `here`, whose answers another server writes."""
    return [
        {
            "id": each.id,
            "title": each.title,
            "state": each.state,
            "free": each.plan is None,
            "ready": each.answers_ready,
            "failed": each.answers_failed,
            "answers": each.answers_wanted,
            "judged": each.judgements,
            "wanted": each.wanted,
            "raters": each.annotators,
            "elsewhere": "" if each.family == here or each.plan is None else each.family,
        }
        for each in summaries
    ]


def campaign_values(campaign: Summary, raters: Rows, pairs: Rows) -> dict[str, Any]:
    """One campaign: what its organiser decided, and how far its raters and pairs are."""
    facts = plan_facts(campaign.plan, campaign.items) if campaign.plan else []
    most = campaign.plan.per_annotator if campaign.plan else None
    return {"id": campaign.id, "raters": list(raters), "pairs": list(pairs), "most": most, "facts": facts}


def plan_facts(plan: Plan, prompts: int) -> list[tuple[str, str]]:
    """A plan in names and words."""
    asked = [name for name, is_asked in (("strength", plan.strength), ("comment", plan.comment)) if is_asked]
    sampling = plan.sampling
    return [
        ("Family", plan.family),
        *(
            (f"Policy {number}", f"{each.label}: {each.policy.formula()}")
            for number, each in enumerate(plan.contenders, 1)
        ),
        ("Pairs", ", ".join(f"{first + 1}-{second + 1}" for first, second in plan.pairs)),
        ("Prompts", f"{prompts:,}"),
        ("Ratings", f"{plan.target:,} of each pair and prompt, on {plan.overlap:.0%} of the prompts"),
        ("A rater's share", f"at most {plan.per_annotator:,}" if plan.per_annotator else "as many as there are"),
        ("Repeats, gold", f"{plan.repeats:.0%}, {plan.golds:.0%}"),
        ("Decoding", f"temperature {sampling.temperature:g}, at most {plan.limits.max_new_tokens} tokens"),
        ("Seed", f"{plan.seed}"),
        ("Asked too", ", ".join([*asked, *plan.scales]) or "nothing"),
        ("Tags", ", ".join(plan.tags) or "none"),
        ("Who rates", IDENTITIES[plan.identity]),
        ("Reveal", "after each vote" if plan.reveal else "never"),
        ("Results", PUBLISHED[plan.publish]),
        ("Guidelines", plan.guidelines),
    ]


def view(summaries: Sequence[Summary], here: str, one: dict[str, Any] | None, opens: bool) -> str:
    """The whole panel, on a server of the family `here`. opens: the page shows `one` whatever it showed before."""
    return line("view", campaigns=campaigns_values(summaries, here), one=one, open=opens)


# --- a draft


def draft(
    contenders: Sequence[Contender], prompts: Sequence[Prompt], plan: Plan | None, error: str = "", missing: str = ""
) -> str:
    """A form as far as it can be told. error: a mistake. missing: what is not there yet."""
    return line(
        "draft",
        policies=[{"label": each.label, "formula": each.policy.formula()} for each in contenders],
        prompts=_prompts_told(prompts),
        rows=[_prompt_values(each) for each in prompts[:SHOWN_PROMPTS]],
        cost=cost(plan, prompts) if plan and prompts else [],
        error=error,
        missing=missing,
    )


def said(kind: str, text: str) -> str:
    """What a component says; each is another one, for the browser leaves out what is the same."""
    return line(kind, text=text, once=uuid.uuid4().hex)


def _prompts_told(prompts: Sequence[Prompt]) -> str:
    golds = sum(bool(each.gold) for each in prompts)
    told = f"{len(prompts):,} prompt{'' if len(prompts) == 1 else 's'}"
    return f"{told}, {golds:,} of them gold" if golds else told


def _prompt_values(prompt: Prompt) -> dict[str, Any]:
    gold = bool(prompt.gold)
    return {"name": prompt.name, "prompt": _cut(prompt.prompt), "gold": gold, "better": _cut(prompt.better)}


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…"
