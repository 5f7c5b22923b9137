"""All that the page needs to collect judgements: the database with its backup, its desk and its office, and the thread
that writes answers ahead."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from components.gate import Gate
from components.ratings_results import Source
from eft_core.answering import Ahead
from eft_core.ratings.answers import RatedAnswer, rated_answers
from eft_core.ratings.dataset import Dataset
from eft_core.ratings.desk import Desk
from eft_core.ratings.mending import mended
from eft_core.ratings.office import Office
from eft_core.ratings.records import votes
from eft_core.ratings.restoring import backup_of, restore
from eft_core.ratings.votes import Votes
from eft_core.session import Session
from eft_core.storage import Storage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ratings:
    """Judgements on one database, for one session's page."""

    storage: Storage
    desk: Desk
    office: Office
    ahead: Ahead
    family: str

    @classmethod
    def opened(cls, session: Session) -> "Ratings":
        """Open the database that the settings name, once it is sound, and all that the backup has is back in it.

        ValueError for settings that cannot be, `Unavailable` for a database or backup that cannot be used."""
        backup = backup_of(session.settings)
        if done := mended(session.settings, backup is not None):
            log.warning("%s", done)
        storage = Storage.of(session.settings)
        if backup is not None:
            log.info("%s", restore(storage, backup))
            storage.log = backup
        return cls(storage, Desk(storage), Office(storage), Ahead(storage, session), session.family.name)

    def push(self) -> None:
        """Begin to hand the backup's lines to the Hub, if it is there; otherwise they are where they belong."""
        if isinstance(self.storage.log, Dataset):
            self.storage.log.push()

    def settle(self, seconds: float) -> None:
        """Hand over what came since, and wait for it so long at most."""
        if isinstance(self.storage.log, Dataset) and not self.storage.log.pushed(seconds):
            log.warning("the backup's last lines may not be on the Hub: they are in the data folder")

    def close(self) -> None:
        """End the thread, if it runs, and close the database."""
        self.ahead.stop()
        self.storage.close()

    def campaigns(self, organiser: bool) -> list[tuple[str, str]]:
        """Campaigns whose results may be seen, as (id, title). No running one's by raters, unless it says so: what
        others think would sway them."""
        return [(each.id, each.title) for each in self.office.studies() if organiser or each.is_published]

    def votes(self, campaign: str | None, organiser: bool) -> Votes:
        """The judgements of a campaign, or of all whose results may be seen."""
        seen = [number for number, _ in self.campaigns(organiser)]
        return votes(self.storage, _chosen(campaign, seen))

    def answers(self, chosen: str = "") -> list[RatedAnswer]:
        """Judged answers of this page's family whose results may be seen, the latest first; or the `chosen` one."""
        seen = [number for number, _ in self.campaigns(organiser=False)]
        return rated_answers(self.storage, self.family, seen, chosen)

    def source(self, gate: Gate) -> Source:
        """What results are drawn from, for whoever the gate lets in, and for everybody else."""

        def organiser(shown: object, login: str) -> bool:
            try:
                gate.check(shown, login)
            except ValueError:
                return False
            return True

        return Source(organiser, self.campaigns, self.votes)


def _chosen(campaign: str | None, seen: Sequence[str]) -> Sequence[str]:
    if campaign is None:
        return seen
    if campaign not in seen:
        raise ValueError("this campaign's results are not open: choose another.")
    return [campaign]
