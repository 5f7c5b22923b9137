"""The deployed packages: `python -m eft_core.supply lock | cpu | audit | licences`.

lock makes requirements.lock of requirements.txt; cpu prints it without CUDA; audit asks the package index what is
known against each package (exit status 0: nothing; 1: something; 3: not all could be asked); licences writes
assets/licences.md and refuses what may not be deployed.
"""

import argparse
import sys
from collections.abc import Sequence

from eft_core.supply.lock import LOCK, Locked, for_cpu, read_lock, resolved, written


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status: 0, 2 for what cannot be done, and those of the audit."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run())
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m eft_core.supply", description=str(__doc__).split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, does in (
        ("lock", _lock, "make requirements.lock of requirements.txt"),
        ("cpu", _cpu, "print the lock without CUDA, for a machine without a GPU"),
        ("audit", _audit, "ask the package index for advisories"),
        ("licences", _licences, "write assets/licences.md, and refuse what may not be deployed"),
    ):
        commands.add_parser(name, help=does, description=does).set_defaults(run=run)
    return parser


def locked() -> tuple[Locked, ...]:
    """The packages of `requirements.lock`."""
    return read_lock(LOCK.read_text(encoding="utf-8"))


def _lock() -> int:
    LOCK.write_text(resolved(), encoding="utf-8")
    print(f"{LOCK.name}: {len(locked())} packages", file=sys.stderr)
    return 0


def _cpu() -> int:
    head = (
        "# requirements.lock without CUDA: pip install --require-hashes --extra-index-url WHERE-TORCH+CPU-IS -r FILE\n"
    )
    print(written(for_cpu(locked()), head), end="")
    return 0


def _audit() -> int:
    from eft_core.supply.audit import audited

    return audited(locked())


def _licences() -> int:
    from eft_core.supply.licences import write

    return write(locked())


if __name__ == "__main__":
    sys.exit(main())
