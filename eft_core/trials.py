"""What a sweep or an experiment decodes: every item under every setting, so many times; and its replies.

Plain data that goes to disk and comes back. Trials are numbered with the item slowest, then the setting, then the
sample: whoever stops early has whole items, on which settings can be compared. Loads no torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, get_args

from eft_core.checks import number, whole
from eft_core.config import Limits, Row, Sampling, token_ids
from eft_core.events import Reason
from eft_core.grid import Axis, Setting
from eft_core.items import Item
from eft_core.policy import Policy

SCHEMA = "eft-lab/run/1"
MOST_TRIALS = 1_000_000
MOST_SAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Trials:
    """`kind`: "sweep", or an experiment's name. `axes` are the grid's that made the settings, if one did."""

    kind: str
    family: str
    items: tuple[Item, ...]
    settings: tuple[Setting, ...]
    limits: Limits = Limits()  # noqa: RUF009  # frozen
    samples: int = 1
    axes: tuple[Axis, ...] = ()
    record: bool = False

    def __post_init__(self) -> None:
        if not self.items or not self.settings:
            raise ValueError("there is nothing to run: give at least one prompt and one setting.")
        remedy = "use the answers drawn for each prompt, such as 4"
        object.__setattr__(self, "samples", whole("samples", self.samples, 1, MOST_SAMPLES, remedy))
        if len(self) > MOST_TRIALS:
            raise ValueError(f"{len(self):,} answers are more than {MOST_TRIALS:,}: take fewer prompts or settings.")

    def __len__(self) -> int:
        return len(self.items) * len(self.settings) * self.samples

    def place(self, trial: int) -> tuple[int, int, int]:
        """(item, setting, sample) of a trial."""
        rest, sample = divmod(trial, self.samples)
        return *divmod(rest, len(self.settings)), sample

    def number(self, item: int, setting: int, sample: int) -> int:
        """The inverse of `place`."""
        return (item * len(self.settings) + setting) * self.samples + sample

    def row(self, trial: int) -> Row:
        """What decodes. Settings share random streams, items and samples do not (SPEED.md 2.4)."""
        item, setting, sample = self.place(trial)
        chosen = self.settings[setting]
        return Row(self.items[item].prompt, chosen.policy, chosen.sampling, item * self.samples + sample)

    def to_dict(self) -> dict[str, Any]:
        """Everything that reproduces it, as plain values."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "family": self.family,
            "items": [_compact(asdict(item)) for item in self.items],
            "settings": [
                {"at": each.at, "policy": each.policy.to_dict(), "sampling": asdict(each.sampling)}
                for each in self.settings
            ],
            "axes": [str(axis) for axis in self.axes],
            "limits": asdict(self.limits),
            "samples": self.samples,
            "record": self.record,
        }

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """The inverse of `to_dict`, of a stranger's file: every part is checked."""
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            raise ValueError(f"this is no run of the schema {SCHEMA}: open a file that was saved here.")
        try:
            return cls(
                kind=str(values["kind"]),
                family=str(values["family"]),
                items=tuple(Item(**_tuples(item)) for item in values["items"]),
                settings=tuple(_setting(each) for each in values["settings"]),
                limits=Limits(**_tuples(values["limits"])),
                samples=values["samples"],
                axes=tuple(Axis.parse(text) for text in values["axes"]),
                record=values["record"] is True,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the run cannot be read ({type(error).__name__}: {error}): save it again.") from error


def _setting(values: Mapping[str, Any]) -> Setting:
    at = tuple(whole("place", each, 0, 10**6, "save the run again") for each in values["at"])
    return Setting(at, Policy.from_dict(values["policy"]), Sampling(**values["sampling"]))


def _compact(values: Mapping[str, Any]) -> dict[str, Any]:
    """An item without what is empty."""
    return {name: value for name, value in values.items() if value}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists where dataclasses have tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a trial. `total_variation`: one a token, between policy and small policy, if records were kept."""

    trial: int
    text: str
    token_ids: tuple[int, ...]
    reason: Reason
    seconds: float
    message: str = ""
    total_variation: tuple[float, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether it ended by itself."""
        return self.reason == "end"

    def to_dict(self) -> dict[str, Any]:
        return _compact(asdict(self)) | {"trial": self.trial, "text": self.text}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], trials: int) -> Self:
        """The inverse of `to_dict`; ValueError if it is no reply to one of so many trials."""
        reason, text, message = values.get("reason"), values.get("text"), values.get("message", "")
        ids, tv = values.get("token_ids") or (), values.get("total_variation") or ()
        if reason not in get_args(Reason) or not isinstance(text, str) or not isinstance(message, str):
            raise ValueError("a reply of the run has no text or no reason: save it again.")
        if not isinstance(ids, list | tuple) or not isinstance(tv, list | tuple):
            raise ValueError("a reply of the run has no list of tokens: save it again.")
        return cls(
            trial=whole("trial", values.get("trial"), 0, trials - 1, "save the run again"),
            text=text,
            token_ids=token_ids(ids),
            reason=reason,  # type: ignore[arg-type]  # checked above
            seconds=number("seconds", values.get("seconds", 0.0), 0.0, 1e9, "save the run again"),
            message=message,
            total_variation=tuple(number("total variation", each, 0.0, 1.0, "save the run again") for each in tv),
        )
