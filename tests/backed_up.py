"""A rater on a machine that forgets its disk, until it is killed; run by tests, not a test.

    python tests/backed_up.py BACKUP DATABASE CAMPAIGN CODE

Brings the backup into a new database, then judges one comparison after the other, and prints each client key when its
judgement was confirmed.
"""

import sys
from pathlib import Path

from studied import key

from eft_core.ratings.backup import Folder
from eft_core.ratings.desk import Desk
from eft_core.ratings.judgement import Judgement
from eft_core.ratings.restoring import restore
from eft_core.ratings.studies import Who
from eft_core.storage import Storage


def main(backup: str, database: str, campaign: str, code: str) -> None:
    folder = Folder(Path(backup))
    storage = Storage(f"sqlite:///{database}", folder)
    restore(storage, folder)
    desk, who = Desk(storage), Who(code)
    while (task := desk.place(campaign, who).task) is not None:
        receipt = desk.cast(campaign, who, Judgement(task.comparison, key(), "left"))
        print(receipt.client_key, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
