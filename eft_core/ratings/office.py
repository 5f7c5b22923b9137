"""What organisers do: make campaigns, start and stop them, see how they go, take an annotator's votes out.

Who is an organiser is the page's matter (`components.gate`); here, whoever calls is one.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import func, select, update

from eft_core.ratings.campaign import Plan, State
from eft_core.ratings.judgement import text_of
from eft_core.ratings.latest import standing
from eft_core.ratings.lots import wanted_of
from eft_core.ratings.prompts import Prompt, write_gold
from eft_core.ratings.studies import Study, all_studies, study_of
from eft_core.schema import annotators, campaigns, comparisons, exclusions, generations, items, now, ratings
from eft_core.storage import Storage


@dataclass(frozen=True, slots=True)
class Summary:
    """A campaign in a list. judgements: those that stand, of annotators who are not taken out."""

    id: str
    title: str
    family: str
    state: str
    created: datetime
    plan: Plan | None
    items: int
    answers_ready: int
    answers_failed: int
    answers_wanted: int
    judgements: int
    wanted: int
    annotators: int


class Office:
    """All campaigns of one database."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def create(self, plan: Plan, prompts: Sequence[Prompt]) -> str:
        """A new campaign, running at once; its id. ValueError if its prompts cannot be what the plan asks for."""
        if all(prompt.gold for prompt in prompts):
            raise ValueError("a campaign needs a prompt at least that is no gold item.")
        if plan.golds and not any(prompt.gold for prompt in prompts):
            raise ValueError("no prompt is a gold item: fill the columns better and worse, or set their share to 0.")
        with self.storage.writing() as writer:
            about = {"title": plan.title, "family": plan.family, "plan": plan.to_dict(), "state": "running"}
            campaign: str = writer.insert(campaigns, **about)["id"]
            for place, prompt in enumerate(prompts):
                words = {"place": place, "name": prompt.name, "prompt": prompt.prompt, "gold": prompt.gold}
                item = writer.insert(items, campaign=campaign, **words)
                if prompt.gold:
                    write_gold(writer, item["id"], plan.family, prompt)
            return campaign

    def set_state(self, campaign: str, state: str) -> None:
        if state not in get_args(State):
            raise ValueError(f"a campaign is {', '.join(get_args(State))}.")
        with self.storage.writing() as writer:
            study = study_of(writer.connection, campaign)
            _free_is_not_meant(study)
            writer.connection.execute(update(campaigns).where(campaigns.c.id == study.id).values(state=state))
            row = writer.connection.execute(select(campaigns).where(campaigns.c.id == study.id)).mappings().one()
            writer.note(campaigns, dict(row))

    def campaigns(self) -> tuple[Summary, ...]:
        """All of them, latest first; free comparisons at the end."""
        with self.storage.reading() as connection:
            return tuple(self._summary(connection, study) for study in all_studies(connection))

    def studies(self) -> list[Study]:
        """The same without how far they are, which takes time where there are many judgements."""
        with self.storage.reading() as connection:
            return all_studies(connection)

    def by_annotator(self, campaign: str) -> list[dict[str, Any]]:
        """A row an annotator who was given something: what they judged, how fast, and whether they are taken out."""
        with self.storage.reading() as connection:
            study = study_of(connection, campaign)
            judged = connection.execute(
                _votes(study, comparisons.c.annotator, ratings.c.seconds, ratings.c.created)
            ).all()
            given = select(annotators).join(comparisons, comparisons.c.annotator == annotators.c.id)
            people = connection.execute(given.where(comparisons.c.campaign == study.id).distinct()).all()
            reasons = _excluded(connection, study)
        votes: dict[str, list[Any]] = defaultdict(list)
        for vote in judged:
            votes[vote.annotator].append(vote)
        rows = [
            {
                "annotator": person.id,
                "name": person.login or f"rater {person.id[:4]}",
                "judged": len(votes[person.id]),
                "median_seconds": _median([v.seconds for v in votes[person.id] if v.seconds is not None]),
                "last": max((v.created for v in votes[person.id]), default=None),
                "excluded": reasons.get(person.id, ""),
            }
            for person in people
        ]
        told = [row | {"last": row["last"].isoformat(timespec="seconds") if row["last"] else ""} for row in rows]
        return sorted(told, key=lambda row: (-row["judged"], row["name"]))

    def by_pair(self, campaign: str) -> list[dict[str, Any]]:
        """A row a pair of policies: judgements that count, and how many are wanted."""
        with self.storage.reading() as connection:
            study = study_of(connection, campaign)
            if study.plan is None:
                return []
            one, other = generations.alias(), generations.alias()
            query = _votes(study, comparisons.c.annotator, one.c.place, other.c.place.label("other"))
            query = query.join(one, one.c.id == comparisons.c.first).join(other, other.c.id == comparisons.c.second)
            out = _excluded(connection, study)
            wanted = wanted_of(connection, study)
            judged: dict[tuple[int, int], int] = defaultdict(int)
            for annotator, place, place_of_other in connection.execute(query.where(comparisons.c.kind == "ordinary")):
                judged[place, place_of_other] += annotator not in out
        labels = [each.label for each in study.plan.contenders]
        return [
            {"first": labels[a], "second": labels[b], "judged": judged[a, b], "wanted": wanted}
            for a, b in study.plan.pairs
        ]

    def exclude(self, campaign: str, annotator: str, reason: str) -> None:
        """Take an annotator's votes out of the results, with a reason: they are kept and marked."""
        if not text_of("the reason", reason, 1000).strip():
            raise ValueError("say why the votes are taken out: it is kept with them.")
        with self.storage.writing() as writer:
            study = study_of(writer.connection, campaign)
            person = select(annotators.c.id).where(annotators.c.id == annotator)
            if writer.connection.scalar(person) is None:
                raise ValueError("there is no such annotator here: reload the page.")
            if annotator not in _excluded(writer.connection, study):
                writer.insert(exclusions, campaign=study.id, annotator=annotator, reason=reason.strip(), lifted=None)

    def include(self, campaign: str, annotator: str) -> None:
        """Put an annotator's votes back."""
        with self.storage.writing() as writer:
            mine = (
                exclusions.c.campaign == campaign,
                exclusions.c.annotator == annotator,
                exclusions.c.lifted.is_(None),
            )
            ids = writer.connection.scalars(select(exclusions.c.id).where(*mine)).all()
            writer.connection.execute(update(exclusions).where(exclusions.c.id.in_(ids)).values(lifted=now()))
            changed = select(exclusions).where(exclusions.c.id.in_(ids))
            for row in writer.connection.execute(changed).mappings().all():
                writer.note(exclusions, dict(row))

    def _summary(self, connection: Any, study: Study) -> Summary:
        ordinary = (items.c.campaign == study.id, items.c.gold.is_(None))
        count = connection.scalar(select(func.count()).where(items.c.campaign == study.id)) or 0
        prompts = connection.scalar(select(func.count()).where(*ordinary)) or 0
        joined = select(generations.c.state, func.count()).join(items, generations.c.item == items.c.id)
        states = dict(connection.execute(joined.where(*ordinary).group_by(generations.c.state)).all())
        plan, out = study.plan, _excluded(connection, study)
        ordinary_votes = _votes(study, comparisons.c.annotator).where(comparisons.c.kind == "ordinary")
        votes = connection.scalars(ordinary_votes).all()
        wanted = wanted_of(connection, study) * len(plan.pairs) if plan else 0
        people = select(func.count(comparisons.c.annotator.distinct())).where(comparisons.c.campaign == study.id)
        return Summary(
            *(study.id, study.title, study.family, study.state, study.created, plan, count),
            answers_ready=states.get("ready", 0),
            answers_failed=states.get("failed", 0),
            answers_wanted=prompts * len(plan.contenders) if plan else sum(states.values()),
            judgements=sum(annotator not in out for annotator in votes),
            wanted=wanted,
            annotators=connection.scalar(people) or 0,
        )


def _votes(study: Study, *columns: Any) -> Any:
    """The judgements of a campaign that stand."""
    return standing(*columns).where(comparisons.c.campaign == study.id)


def _excluded(connection: Any, study: Study) -> dict[str, str]:
    """Why annotators' votes are out, by annotator."""
    query = select(exclusions.c.annotator, exclusions.c.reason)
    query = query.where(exclusions.c.campaign == study.id, exclusions.c.lifted.is_(None))
    return dict(connection.execute(query).all())


def _median(values: Sequence[float]) -> float | None:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if not ordered:
        return None
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _free_is_not_meant(study: Study) -> None:
    if study.plan is None:
        raise ValueError("free comparisons are always open: they are no campaign.")
